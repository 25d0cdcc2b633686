"""Metrics of a multi-label classifier: every row has a set of labels, and every label is a decision.

Sets travel as codes, rows of one table of distinct sets, so that whatever compares answers row by row (accuracy,
McNemar, the paired bootstrap) is the same as for one label: two sets are equal or they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.core.seeds import stream_generator
from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.calibration import reliability
from adjudge.evaluate.intervals import percentiles, resampled_counts
from adjudge.evaluate.metrics import PROBABILITY_FLOOR, macro_f1_from_counts

BoolArray = npt.NDArray[np.bool_]


def set_metrics(gold: BoolArray, predicted: BoolArray, probs: FloatArray, labels: Sequence[str]) -> dict[str, Any]:
    """Every metric of one set of multi-label predictions, ready for JSON.

    Args:
        gold: ``[N, C]`` whether a row has a label.
        predicted: ``[N, C]`` whether it was given the label.
        probs: ``[N, C]`` probabilities, one for each label.
        labels: ``[C]`` names.

    Returns:
        ``n``; ``accuracy``: share of rows whose set is right as a whole (subset accuracy); ``hamming_loss``: share of
        the ``N C`` decisions that are wrong; ``micro_f1`` over all decisions; ``macro_f1``: mean of the labels' F1
        (labels neither held nor given are left out of it); ``weighted_f1`` by support; ``mcc`` over all decisions;
        ``log_loss`` (nats) and ``brier`` (0 to 1) of each decision, their means over labels; ``ece`` and
        ``reliability`` over all decisions; ``labels_per_row`` of gold and of the answers; ``per_class``
        (``precision``, ``recall``, ``f1``, ``support``, ``log_loss``, ``brier``). What is undefined is 0.

    Raises:
        ValueError: no rows, or shapes that differ.
    """
    if gold.ndim != 2 or not gold.size or not gold.shape == predicted.shape == probs.shape:
        shapes = f"{gold.shape}, {predicted.shape}, {probs.shape}"
        raise ValueError(f"expected gold, predicted and probs of one shape [N, C] with N of at least 1, got {shapes}")
    wide = probs.astype(np.float64)
    right, support, chosen = (counted.sum(axis=0) for counted in (gold & predicted, gold, predicted))
    f1 = 2 * right / np.maximum(support + chosen, 1)
    precision, recall = right / np.maximum(chosen, 1), right / np.maximum(support, 1)
    of_gold = np.clip(np.where(gold, wide, 1 - wide), PROBABILITY_FLOOR, 1.0)
    log_loss, brier = -np.log(of_gold).mean(axis=0), ((wide - gold) ** 2).mean(axis=0)
    diagram = reliability(wide.ravel(), gold.ravel())
    return {
        "n": len(gold),
        "accuracy": float((gold == predicted).all(axis=1).mean()),
        "hamming_loss": float((gold != predicted).mean()),
        "micro_f1": float(2 * right.sum() / max(support.sum() + chosen.sum(), 1)),
        "macro_f1": float(macro_f1_from_counts(right, support, chosen)),
        "weighted_f1": float(f1 @ support / max(support.sum(), 1)),
        "mcc": _matthews(gold, predicted),
        "log_loss": float(log_loss.mean()),
        "brier": float(brier.mean()),
        "ece": diagram.expected_error,
        "labels_per_row": {"gold": float(support.sum() / len(gold)), "predicted": float(chosen.sum() / len(gold))},
        "per_class": {
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
                "log_loss": float(log_loss[i]),
                "brier": float(brier[i]),
            }
            for i, label in enumerate(labels)
        },
        "reliability": diagram.to_json(),
    }


def set_macro_f1(gold: BoolArray, predicted: BoolArray) -> float:
    """Mean of the labels' F1, 0 to 1, as in `set_metrics`; arrays ``[N, C]``."""
    right, support, chosen = (counted.sum(axis=0) for counted in (gold & predicted, gold, predicted))
    return float(macro_f1_from_counts(right, support, chosen))


def set_intervals(
    gold: IntArray, predicted: IntArray, sets: BoolArray, *, resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95% percentile bootstrap intervals over the rows of ``micro_f1`` and ``hamming_loss``.

    Rows of equal gold and predicted sets are interchangeable, so a resample is a multinomial draw over the kinds of
    rows. Both metrics are ratios of sums over all decisions, so a label with few rows does no harm here.

    Args:
        gold: ``[N]`` codes.
        predicted: ``[N]`` codes.
        sets: ``[K, C]`` the set of each code.
        resamples: bootstrap draws, at least 1.
        seed: of the stream ``bootstrap``.
    """
    kinds, counts = np.unique(np.stack([gold, predicted]), axis=1, return_counts=True)
    held, given = sets[kinds[0]], sets[kinds[1]]
    totals = np.stack([part.sum(axis=1) for part in (held & given, held, given, held != given)], axis=1)
    draws: dict[str, list[npt.NDArray[np.float64]]] = {"micro_f1": [], "hamming_loss": []}
    for cells in resampled_counts(counts, resamples, stream_generator(seed, "bootstrap")):
        right, support, chosen, wrong = (cells @ totals).T
        draws["micro_f1"].append(2 * right / np.maximum(support + chosen, 1))
        draws["hamming_loss"].append(wrong / (len(gold) * sets.shape[1]))
    return {name: percentiles(np.concatenate(parts), 0.025, 0.975) for name, parts in draws.items()}


def _matthews(gold: BoolArray, predicted: BoolArray) -> float:
    """Matthews correlation of all decisions, -1 to 1; 0 where gold or the answers are constant."""
    both, held, given = float((gold & predicted).sum()), float(gold.sum()), float(predicted.sum())
    spread = held * given * (gold.size - held) * (gold.size - given)
    return (gold.size * both - held * given) / float(np.sqrt(spread)) if spread else 0.0
