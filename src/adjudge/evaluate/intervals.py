"""Intervals around one classifier's metrics, and tests against a constant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm

from adjudge.core.seeds import stream_generator
from adjudge.core.types import IntArray
from adjudge.evaluate.metrics import confusion_counts, macro_f1_from_counts

_CELLS_AT_ONCE = 4_000_000


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, without continuity correction (Wilson 1927).

    Unlike the bootstrap it has a width at 0 and at n successes.

    Args:
        successes: 0 to n.
        n: trials, at least 1.
        confidence: two-sided coverage, between 0 and 1.

    Raises:
        ValueError: an argument out of range.
    """
    _check_proportion(successes, n)
    z = float(norm.ppf(0.5 + _checked_confidence(confidence) / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def bootstrap_intervals(
    gold: IntArray,
    predicted: IntArray,
    n_classes: int,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of accuracy and macro-F1 over the rows (Efron 1979).

    Both metrics depend on the rows through the confusion matrix alone, and the confusion matrix of N rows drawn
    with replacement is a multinomial draw over its cells. So that is what is drawn: the same distribution as
    resampling rows, at a cost that does not grow with N.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1.
        predicted: ``[N]`` label indices, or `metrics.NO_ANSWER`.
        n_classes: C.
        resamples: bootstrap draws, at least 1.
        confidence: two-sided coverage, between 0 and 1.
        seed: of the stream ``bootstrap``.

    Returns:
        ``accuracy`` and ``macro_f1``, each as (low, high). Both are points where every answer is right: use
        `wilson_interval` for accuracy.

    Raises:
        ValueError: arrays as in `metrics.macro_f1`, or an argument out of range.
    """
    tail = (1 - _checked_confidence(confidence)) / 2
    counts = confusion_counts(gold, predicted, n_classes)
    of_gold, of_predicted = np.nonzero(counts)
    correct = of_gold == of_predicted
    classes = np.arange(n_classes)
    gold_is = (of_gold[:, None] == classes).astype(np.float64)
    predicted_is = (of_predicted[:, None] == classes).astype(np.float64)
    right_is = gold_is * correct[:, None]
    draws: dict[str, list[npt.NDArray[np.float64]]] = {"accuracy": [], "macro_f1": []}
    for cells in resampled_counts(counts[of_gold, of_predicted], resamples, stream_generator(seed, "bootstrap")):
        cells_f = cells.astype(np.float64)
        right = cells_f @ right_is
        draws["accuracy"].append(right.sum(axis=1) / len(gold))
        draws["macro_f1"].append(macro_f1_from_counts(right, cells_f @ gold_is, cells_f @ predicted_is))
    return {name: percentiles(np.concatenate(parts), tail, 1 - tail) for name, parts in draws.items()}


def resampled_counts(counts: IntArray, resamples: int, generator: np.random.Generator) -> Iterator[IntArray]:
    """Counts of every distinct kind of row in bootstrap resamples of the rows, in chunks of bounded memory.

    Args:
        counts: ``[P]`` how many rows there are of each kind; their sum is the size of a resample.
        resamples: number of resamples, at least 1.
        generator: source of the draws.

    Yields:
        ``[R, P]`` with the R adding up to ``resamples``.

    Raises:
        ValueError: no resamples.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    n = int(counts.sum())
    chunk = max(1, _CELLS_AT_ONCE // len(counts))
    for start in range(0, resamples, chunk):
        yield generator.multinomial(n, counts / n, size=min(chunk, resamples - start))


def percentiles(draws: npt.NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """The quantiles ``low`` and ``high`` (0 to 1) of draws ``[R]``, linearly interpolated."""
    found = np.quantile(draws, [low, high])
    return float(found[0]), float(found[1])


def proportion_exceeds(successes: int, n: int, constant: float) -> float:
    """Exact one-sided binomial p-value of "the true proportion is at most ``constant``".

    For a published figure shown beside a measured one. The figure is taken as a constant: its own sampling error is
    ignored, and the text around the number has to say so.

    Args:
        successes: 0 to n.
        n: trials, at least 1.
        constant: 0 to 1.

    Returns:
        ``P(X >= successes)`` for ``X ~ Binomial(n, constant)``.

    Raises:
        ValueError: an argument out of range.
    """
    _check_proportion(successes, n)
    _check_constant(constant)
    return float(binom.sf(successes - 1, n, constant))


def proportion_differs(successes: int, n: int, constant: float) -> float:
    """Exact two-sided binomial p-value of "the true proportion is ``constant``": twice the smaller tail, at most 1.

    See `proportion_exceeds` for arguments, errors and what a constant leaves out.
    """
    above = proportion_exceeds(successes, n, constant)
    below = float(binom.cdf(successes, n, constant))
    return min(1.0, 2 * min(above, below))


def accuracy_needed(n: int, constant: float, alpha: float = 0.05) -> float:
    """The smallest accuracy on n rows that `proportion_exceeds` calls above ``constant`` at level ``alpha``.

    The test is exact and one-sided: 0.9360 for n = 2,000 and 0.9262. Give ``alpha / 2`` for the two-sided level;
    0.9380 then, where the normal approximation ``c + 1.96 sqrt(c (1 - c) / n)`` says 0.9377, which is no multiple of
    1 / n.

    Args:
        n: rows, at least 1.
        constant: 0 to 1.
        alpha: level of the test, between 0 and 1.

    Returns:
        A multiple of 1 / n; above 1 (namely (n + 1) / n) where no accuracy on n rows is enough.

    Raises:
        ValueError: an argument out of range.
    """
    _check_proportion(0, n)
    _check_constant(constant)
    _checked_confidence(1 - alpha)
    # isf gives the smallest k with P(X > k) <= alpha, and P(X >= k + 1) = P(X > k).
    return (int(binom.isf(alpha, n, constant)) + 1) / n


def _check_proportion(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n with n of at least 1, got {successes} of {n}")


def _check_constant(constant: float) -> None:
    if not 0 <= constant <= 1:
        raise ValueError(f"the constant must lie in 0 to 1, got {constant}")


def _checked_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence (and 1 - alpha) must lie between 0 and 1, got {confidence}")
    return confidence
