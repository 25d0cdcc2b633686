"""Whether a run's probabilities depend on what was predicted beside them: measured on its rows, and enforced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adjudge.core.errors import WorkError
from adjudge.core.protocols import Batching, Classifier, replies_of
from adjudge.core.runs import EvaluatedSplit, Run
from adjudge.core.types import FloatArray, Split
from adjudge.models.classifiers.round_trip import probe_texts


def batch_facts(classifier: Classifier, run: Run, splits: Mapping[EvaluatedSplit, Split]) -> dict[str, Any]:
    """Predict some validation texts one by one, and compare with what the run's files say of them.

    Args:
        classifier: calibrated, and what the files were predicted with.
        run: its prediction files are written.
        splits: the rows of these files, in their order; validation is among them.

    Returns:
        Nothing where every text is computed by itself, else ``batch_invariance`` for run.json's facts:
        ``tolerance``, what holds for this run; ``largest_difference`` of a probability on ``rows`` texts;
        ``near_ties``, by split the rows whose answer would be another one if every probability moved by the tolerance
        (not of a head that writes, whose reply decides).

    Raises:
        WorkError: a probability differs by more than rounding can explain.
    """
    allowed = classifier.batch_tolerance if isinstance(classifier, Batching) else None
    if allowed is None:
        return {}
    probs = {name: _probabilities(classifier, run, name) for name in splits}
    texts = splits["validation"].texts
    place = {text: i for i, text in enumerate(texts)}
    probe = probe_texts(texts)
    together = probs["validation"][[place[text] for text in probe]]
    alone = np.concatenate([together[:0], *(classifier.predict_proba([text]) for text in probe)])
    worst = float(np.abs(alone.astype(np.float64) - together).max(initial=0.0))
    if not worst <= allowed.most:
        raise WorkError(
            f"a text's probabilities depend on the texts beside it: they differ by {worst:.3g} from those of the text "
            f"alone, on {len(probe)} validation texts, and rounding explains {allowed.most:g}; set precision: float32"
        )
    tolerance = allowed.stated if worst <= allowed.stated else allowed.most
    facts: dict[str, Any] = {"tolerance": tolerance, "largest_difference": worst, "rows": len(probe)}
    if replies_of(classifier, []) is None:
        slack = {split: classifier.decision.slack(found, classifier.labels) for split, found in probs.items()}
        facts["near_ties"] = {split: int((found <= tolerance).sum()) for split, found in slack.items()}
    return {"batch_invariance": facts}


def _probabilities(classifier: Classifier, run: Run, split: EvaluatedSplit) -> FloatArray:
    return run.predictions(split).select([f"prob_{label}" for label in classifier.labels]).to_numpy()
