"""Calibration: temperature scaling and how far confidence is from accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from adjudge.core.types import FloatArray, IntArray

TEMPERATURE_RANGE = (0.05, 20.0)


def softmax(logits: FloatArray, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities ``softmax(logits / temperature)``, computed in float64.

    Args:
        logits: ``[N, C]`` scores.
        temperature: above 0; above 1 flattens, below 1 sharpens. The order of the labels never changes.

    Returns:
        ``[N, C]`` float64, each row summing to 1.

    Raises:
        ValueError: the temperature is not a positive finite number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be a positive finite number, got {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    probs: npt.NDArray[np.float64] = scipy_softmax(scaled, axis=-1)
    return probs


def fit_temperature(logits: FloatArray, gold: IntArray) -> float:
    """The temperature that minimises the negative log-likelihood of the gold labels.

    Guo et al. (2017), "On Calibration of Modern Neural Networks", section 4.2. The likelihood is convex in
    ``1 / T``, so the bounded search over ``log T`` finds its one minimum within `TEMPERATURE_RANGE`.

    Args:
        logits: ``[N, C]`` finite scores of validation rows.
        gold: ``[N]`` label indices, 0 to C - 1.

    Returns:
        The temperature, within `TEMPERATURE_RANGE`; or 1.0 where the rows do not determine one: no rows, scores
        that are equal within every row, or every row's gold label scored highest (then ``T -> 0`` is best, which
        would only turn probabilities into certainties).

    Raises:
        ValueError: shapes that do not fit, a label out of range, or a logit that is not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or gold.shape != scores.shape[:1]:
        raise ValueError(f"expected logits [N, C] and gold [N], got {scores.shape} and {gold.shape}")
    if not len(scores):
        return 1.0
    if gold.min() < 0 or gold.max() >= scores.shape[1]:
        raise ValueError(f"gold must lie in 0 to {scores.shape[1] - 1}, got {gold.min()} to {gold.max()}")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise ValueError(f"logits must be finite, but row {row} holds {scores[row].tolist()}")
    rows = np.arange(len(scores))
    if (scores[rows, gold] >= scores.max(axis=1)).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(scores / np.exp(log_temperature), axis=1)[rows, gold].mean())

    low, high = np.log(TEMPERATURE_RANGE)
    minimum = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(np.clip(np.exp(minimum.x), *TEMPERATURE_RANGE))


def fit_set_temperature(logits: FloatArray, gold: npt.NDArray[np.bool_]) -> float:
    """The one temperature of all labels that minimises the mean binary cross-entropy of a multi-label classifier.

    `fit_temperature` with a sigmoid for each label in place of the softmax over all of them.

    Args:
        logits: ``[N, C]`` finite scores of validation rows.
        gold: ``[N, C]`` whether a row has a label.

    Returns:
        The temperature, within `TEMPERATURE_RANGE`; 1.0 where there are no rows, every score is 0, or every sign is
        right.

    Raises:
        ValueError: shapes that differ, or a logit that is not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or gold.shape != scores.shape:
        raise ValueError(f"expected logits [N, C] and gold of the same shape, got {scores.shape} and {gold.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("logits must be finite")
    margins = np.where(gold, scores, -scores)
    if (margins >= 0).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -margins / np.exp(log_temperature)).mean())

    low, high = np.log(TEMPERATURE_RANGE)
    minimum = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(np.clip(np.exp(minimum.x), *TEMPERATURE_RANGE))


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy by bin of confidence, the data of a reliability diagram.

    Bins have equal width and are closed on the right: a confidence of exactly 0.2 with 5 bins is in the first.

    Attributes:
        edges: ``[bins + 1]`` from 0 to 1.
        count: ``[bins]`` rows.
        confidence: ``[bins]`` mean confidence; NaN where a bin is empty.
        accuracy: ``[bins]`` share of right answers; NaN where a bin is empty.
    """

    edges: npt.NDArray[np.float64]
    count: IntArray
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0 to 1: gaps between confidence and accuracy weighted by rows."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(gaps @ self.count / self.count.sum())

    def to_json(self) -> dict[str, Any]:
        """The arrays as lists, null where a bin is empty."""
        filled = self.count > 0
        return {
            "edges": self.edges.tolist(),
            "count": self.count.tolist(),
            "confidence": [float(x) if ok else None for x, ok in zip(self.confidence, filled, strict=True)],
            "accuracy": [float(x) if ok else None for x, ok in zip(self.accuracy, filled, strict=True)],
        }


def reliability(confidence: FloatArray, correct: npt.NDArray[np.bool_], bins: int = 15) -> Reliability:
    """Bin rows by confidence.

    Args:
        confidence: ``[N]`` probability of the answer, 0 to 1.
        correct: ``[N]`` whether the answer was right.
        bins: number of equal-width bins, at least 1.

    Raises:
        ValueError: no rows, shapes that differ, or no bins.
    """
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence) or bins < 1:
        raise ValueError(
            "expected confidence and correct as [N] with N of at least 1 and at least one bin, "
            f"got {confidence.shape}, {correct.shape} and {bins} bins"
        )
    values = confidence.astype(np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    rows = np.where(count > 0, count, np.nan)
    return Reliability(
        edges=edges,
        count=count,
        confidence=np.bincount(index, weights=values, minlength=bins) / rows,
        accuracy=np.bincount(index, weights=correct.astype(np.float64), minlength=bins) / rows,
    )


def expected_calibration_error(confidence: FloatArray, correct: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error, 0 to 1 (Guo et al. 2017, equation 3); arguments as in `reliability`."""
    return reliability(confidence, correct, bins).expected_error
