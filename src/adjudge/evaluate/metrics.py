"""Metrics of a closed-set classifier, from gold label indices and probabilities.

A prediction of `NO_ANSWER` stands for a reply that could not be read. It is wrong, it is nobody's false positive, and
its probabilities count as uniform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.calibration import reliability

Counts = IntArray | npt.NDArray[np.float64]

NO_ANSWER = -1
PROBABILITY_FLOOR = float(np.finfo(np.float32).eps)
"""Log loss clips probabilities to [floor, 1]: prediction files hold float32. One row costs at most 15.95 nats."""

_SUM_TOLERANCE = 1e-3


def accuracy(gold: IntArray, predicted: IntArray) -> float:
    """Share of rows whose prediction is the gold label, 0 to 1.

    Args:
        gold: ``[N]`` label indices.
        predicted: ``[N]`` label indices, or `NO_ANSWER`.

    Raises:
        ValueError: no rows, or shapes that differ.
    """
    _same_rows(gold, predicted)
    return float((gold == predicted).mean())


def macro_f1(gold: IntArray, predicted: IntArray, n_classes: int) -> float:
    """Unweighted mean of the classes' F1, 0 to 1.

    A class that occurs neither in ``gold`` nor in ``predicted`` has no F1 and is left out of the mean; a class that
    occurs in one of them and is never right has F1 = 0. This is scikit-learn's ``f1_score(average="macro")`` with
    its default labels, and with ``labels=`` the classes present.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1.
        predicted: ``[N]`` label indices, or `NO_ANSWER`.
        n_classes: C.

    Raises:
        ValueError: no rows, shapes that differ, or an index out of range.
    """
    counts = confusion_counts(gold, predicted, n_classes)
    answered = counts[:, :n_classes]
    return float(macro_f1_from_counts(answered.diagonal(), counts.sum(axis=1), answered.sum(axis=0)))


def confusion_counts(gold: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Rows by gold label and prediction, ``[C, C + 1]``; the last column counts `NO_ANSWER`.

    Raises:
        ValueError: no rows, shapes that differ, or an index out of range.
    """
    _same_rows(gold, predicted)
    if gold.min() < 0 or gold.max() >= n_classes:
        raise ValueError(f"gold must lie in 0 to {n_classes - 1}, got {gold.min()} to {gold.max()}")
    if predicted.min() < NO_ANSWER or predicted.max() >= n_classes:
        raise ValueError(f"predicted must lie in -1 to {n_classes - 1}, got {predicted.min()} to {predicted.max()}")
    column = np.where(predicted == NO_ANSWER, n_classes, predicted)
    cells = np.bincount(gold * (n_classes + 1) + column, minlength=n_classes * (n_classes + 1))
    return cells.reshape(n_classes, n_classes + 1)


def macro_f1_from_counts(
    true_positive: Counts, gold_count: Counts, predicted_count: Counts
) -> npt.NDArray[np.float64]:
    """Macro-F1 of many resamples at once, ``[..., C]`` counts in, ``[...]`` out; classes as in `macro_f1`."""
    total = gold_count + predicted_count
    present = total > 0
    f1 = 2 * true_positive / np.where(present, total, 1)
    # Where nothing is held or given at all, which a multi-label resample may be, there is no F1: it counts as 0.
    mean: npt.NDArray[np.float64] = f1.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return mean


def classification_metrics(
    gold: IntArray,
    probs: FloatArray,
    labels: Sequence[str],
    *,
    predicted: IntArray | None = None,
    top_k: Sequence[int] = (1, 2, 3),
    bins: int = 15,
) -> dict[str, Any]:
    """Every metric of one set of predictions, ready for JSON.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1.
        probs: ``[N, C]`` probabilities.
        labels: ``[C]`` names.
        predicted: ``[N]`` answers, or `NO_ANSWER`; default: the most probable label, the first of equals.
        top_k: sizes k for "is gold among the k most probable"; those above C are left out.
        bins: bins of the reliability diagram and of ``ece``.

    Returns:
        ``n``, ``accuracy``, ``macro_f1``, ``weighted_f1`` (by support), ``balanced_accuracy`` (mean recall of the
        classes that occur in gold), ``mcc`` (Gorodkin 2004, -1 to 1; 0 where gold or the answers are constant),
        ``log_loss`` (nats), ``brier`` (sum over classes, 0 to 2, Brier 1950), ``ece``, ``top_k`` (by k as text),
        ``per_class`` (``precision``, ``recall``, ``f1``, ``support``; 0 where undefined), ``confusion``
        (``[C][C]``, rows gold; a row lacks its unanswered ones), ``reliability`` (`Reliability.to_json`).

    Raises:
        ValueError: no rows, shapes that do not fit, an index out of range, or rows that are no probabilities.
    """
    n_classes = len(labels)
    if probs.shape != (len(gold), n_classes):
        raise ValueError(f"expected probs [{len(gold)}, {n_classes}] (rows, labels), got {list(probs.shape)}")
    answers = probs.argmax(axis=1) if predicted is None else predicted
    counts = confusion_counts(gold, answers, n_classes)
    answered = answers != NO_ANSWER
    filled = np.where(answered[:, None], np.asarray(probs, dtype=np.float64), 1.0 / n_classes)
    bad = first_bad_row(filled)
    if bad is not None:
        raise ValueError(f"row {bad}: probabilities must lie in 0 to 1 and sum to 1, got {filled[bad].tolist()}")
    correct = answers == gold
    # Confidence is the probability of what was answered, which a reply may have chosen against the scores.
    confidence = filled[np.arange(len(gold)), np.where(answered, answers, 0)]
    diagram = reliability(confidence, correct, bins)
    ranks = _ranks(filled, gold)
    return {
        "n": len(gold),
        "accuracy": float(correct.mean()),
        **_from_confusion(counts, labels),
        **_from_probabilities(filled, gold),
        "ece": diagram.expected_error,
        "top_k": {str(k): float(((ranks < k) & answered).mean()) for k in top_k if k <= n_classes},
        "reliability": diagram.to_json(),
    }


def _from_confusion(counts: IntArray, labels: Sequence[str]) -> dict[str, Any]:
    answered = counts[:, : len(labels)]
    right, support, chosen = answered.diagonal(), counts.sum(axis=1), answered.sum(axis=0)
    precision = right / np.maximum(chosen, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + chosen, 1)
    return {
        "macro_f1": float(macro_f1_from_counts(right, support, chosen)),
        "weighted_f1": float(f1 @ support / support.sum()),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "mcc": _matthews(counts),
        "per_class": {
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": answered.tolist(),
    }


def _matthews(counts: IntArray) -> float:
    """Multi-class Matthews correlation, Gorodkin (2004), equation 8; `NO_ANSWER` is one more predicted class."""
    table = counts.astype(np.float64)
    n, right = table.sum(), table.diagonal().sum()
    gold, chosen = table.sum(axis=1), table.sum(axis=0)
    spread = (n * n - gold @ gold) * (n * n - chosen @ chosen)
    return float((right * n - gold @ chosen[: len(gold)]) / np.sqrt(spread)) if spread > 0 else 0.0


def _from_probabilities(probs: npt.NDArray[np.float64], gold: IntArray) -> dict[str, float]:
    of_gold = probs[np.arange(len(gold)), gold]
    # sum_c (p_c - y_c)^2 without the one-hot matrix.
    brier = (probs * probs).sum(axis=1) - 2 * of_gold + 1
    return {
        "log_loss": float(-np.log(np.clip(of_gold, PROBABILITY_FLOOR, 1.0)).mean()),
        "brier": float(brier.mean()),
    }


def _ranks(probs: npt.NDArray[np.float64], gold: IntArray) -> IntArray:
    """How many labels come before gold, ``[N]``; of equals the first in label order comes first, as in argmax."""
    of_gold = probs[np.arange(len(gold)), gold][:, None]
    earlier = np.arange(probs.shape[1]) < gold[:, None]
    ranks: IntArray = ((probs > of_gold) | ((probs == of_gold) & earlier)).sum(axis=1)
    return ranks


def _same_rows(gold: IntArray, predicted: IntArray) -> None:
    if gold.ndim != 1 or gold.shape != predicted.shape or not len(gold):
        raise ValueError(f"expected two arrays [N] with N of at least 1, got {gold.shape} and {predicted.shape}")


def first_bad_row(probs: npt.NDArray[Any]) -> int | None:
    """The first row of ``[N, C]`` that is no distribution: outside 0 to 1, or not summing to 1 (tolerance 1e-3)."""
    # Written so that NaN fails the comparisons.
    good = (probs >= 0).all(axis=1) & (np.abs(probs.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    return None if good.all() else int(np.flatnonzero(~good)[0])
