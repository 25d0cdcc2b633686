"""What predicts, saves and loads: baselines, encoders, causal models and the packed engine."""

from adjudge.models.classifiers.storage import CLASSIFIERS, load_classifier

__all__ = ["CLASSIFIERS", "load_classifier"]
