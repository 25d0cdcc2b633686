"""From which probability on a label of a multi-label task is given: chosen on validation rows, label by label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.core.types import FloatArray

FALLBACK = 0.5
"""The threshold of a label that validation does not hold."""


def best_thresholds(probs: FloatArray, gold: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """The threshold of each label that maximises its F1 (the S-cut of Yang 2001).

    A threshold lies halfway between two neighbouring probabilities; of equally good ones it is the nearest to 0.5, and
    of those the higher. Labels without a positive row get `FALLBACK`.

    Args:
        probs: ``[N, C]`` probabilities of validation rows, 0 to 1.
        gold: ``[N, C]`` whether a row has a label.

    Raises:
        ValueError: shapes that differ.
    """
    if probs.ndim != 2 or probs.shape != gold.shape:
        raise ValueError(f"expected probs [N, C] and gold of the same shape, got {probs.shape} and {gold.shape}")
    wide = probs.astype(np.float64)
    return tuple(_best(wide[:, label], gold[:, label]) for label in range(gold.shape[1]))


def _best(probs: npt.NDArray[np.float64], gold: npt.NDArray[np.bool_]) -> float:
    positives = int(gold.sum())
    if not positives:
        return FALLBACK
    order = np.argsort(-probs)
    ranked = probs[order]
    below = np.append(ranked[1:], 0.0)
    given = np.arange(1, len(ranked) + 1)
    # Half of each cut's F1; a cut between equal probabilities is none.
    scores = (ranked > below) * gold[order].cumsum() / (given + positives)
    cuts = (ranked + below) / 2
    best = np.flatnonzero(scores == scores.max())
    return float(max(cuts[best], key=lambda cut: (-abs(cut - FALLBACK), cut)))
