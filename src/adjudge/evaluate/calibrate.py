"""Calibrating a classifier on validation rows: its temperature and, for sets of labels, its thresholds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.core.decision import Decision
from adjudge.core.protocols import Classifier
from adjudge.core.types import IntArray, Split
from adjudge.evaluate.calibration import fit_set_temperature, fit_temperature
from adjudge.evaluate.thresholds import best_thresholds


def calibrate(classifier: Classifier, logits: npt.NDArray[np.float32], validation: Split) -> None:
    """Fit the temperature of a classifier and, where its texts may have several labels, the thresholds; in place.

    Args:
        classifier: fitted.
        logits: ``[N, C]`` its answers for validation.
        validation: rows with gold labels.
    """
    problem = classifier.decision.problem
    if not problem.multi:
        classifier.temperature = fit_temperature(logits, gold_indices(validation, classifier.labels))
        return
    gold = problem.indicator([str(cell) for cell in validation.labels], classifier.labels)
    classifier.temperature = fit_set_temperature(logits, gold)
    probs = classifier.decision.probabilities(logits, classifier.temperature)
    classifier.decision = Decision(problem, best_thresholds(probs, gold))


def thresholds_of(classifier: Classifier) -> dict[str, dict[str, float]]:
    """``thresholds`` by label, for run.json; nothing where one label is given."""
    thresholds = dict(zip(classifier.labels, classifier.decision.thresholds, strict=False))
    return {"thresholds": thresholds} if thresholds else {}


def gold_indices(split: Split, labels: tuple[str, ...]) -> IntArray:
    """Label indices ``[N]`` of a split whose labels are all in the set."""
    index = {label: i for i, label in enumerate(labels)}
    return np.array([index[str(label)] for label in split.labels], dtype=np.int64)
