"""Paired comparisons of classifiers on the same rows: tests, intervals, and what a test set can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.stats import binomtest, norm

from adjudge.core.seeds import stream_generator
from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.intervals import percentiles, resampled_counts
from adjudge.evaluate.metrics import macro_f1_from_counts

Metric = Literal["accuracy", "macro_f1"]
Draws = npt.NDArray[np.float64]
Scorer = Callable[[IntArray], Draws]
"""Counts of the kinds of rows in R resamples, ``[R, P]`` -> the metric of every seed, ``[R, S]``."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairedTest:
    """McNemar's test of two single runs.

    Attributes:
        b: rows that the first had right and the second wrong.
        c: rows that the second had right and the first wrong.
        n: all rows.
        p_value: two-sided and exact.
    """

    b: int
    c: int
    n: int
    p_value: float


@dataclass(frozen=True)
class Difference:
    """A paired bootstrap comparison, first minus second.

    Attributes:
        difference: on the rows themselves.
        low: lower end of the two-sided interval.
        high: upper end of the two-sided interval.
        lower_bound: one-sided lower bound at the same confidence: the difference is at least this.
        p_value: two-sided.
    """

    difference: float
    low: float
    high: float
    lower_bound: float
    p_value: float


def mcnemar(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> PairedTest:
    """McNemar's test in its exact form: given ``b + c`` discordant rows, b is Binomial(b + c, 1/2) (McNemar 1947).

    Args:
        correct_a: ``[N]`` whether the first run's answers are right.
        correct_b: ``[N]`` the same of the second run, on the same rows in the same order.

    Returns:
        The counts and the p-value, which is 1 where no row is discordant.

    Raises:
        ValueError: no rows, or shapes that differ.
    """
    b, c, n = _discordant(correct_a, correct_b)
    return PairedTest(b, c, n, float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0)


def paired_difference(
    gold: IntArray,
    predicted_a: IntArray,
    predicted_b: IntArray,
    classes: int | npt.NDArray[np.bool_],
    *,
    metric: Metric = "accuracy",
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Difference of two methods on the same rows, with a 95% paired bootstrap interval over rows and seeds.

    A method's value is the mean over its seeds. Every resample draws rows with replacement, the same rows for both
    methods, and then seeds with replacement within each method. With S seeds the bootstrap sees (S - 1) / S of the
    variance between seeds, so two or three seeds widen the interval by less than they should.

    Rows that agree in gold and in every prediction are interchangeable, so a resample is a multinomial draw over the
    distinct kinds of rows: the same distribution as drawing rows, and much faster.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1.
        predicted_a: ``[Sa, N]`` (or ``[N]``) label indices of the first method's runs, or `metrics.NO_ANSWER`.
        predicted_b: ``[Sb, N]`` (or ``[N]``) of the second method's runs.
        classes: C; or of a multi-label task the table of sets ``[K, C]``, of which gold and predictions are rows.
        metric: ``accuracy``, or ``macro_f1`` of each seed on the resample.
        resamples: bootstrap draws, at least 1.
        seed: of the stream ``bootstrap``.

    Returns:
        See `Difference` and, for the p-value, `paired_bootstrap`.

    Raises:
        ValueError: no rows, shapes that do not fit, an index out of range, or an unknown metric.
    """
    runs_a, runs_b = np.atleast_2d(predicted_a), np.atleast_2d(predicted_b)
    n_codes = classes if isinstance(classes, int) else len(classes)
    _check_runs(gold, runs_a, n_codes)
    _check_runs(gold, runs_b, n_codes)
    kinds, counts = np.unique(np.vstack([gold[None], runs_a, runs_b]), axis=1, return_counts=True)
    score_a = _scorer(kinds[0], kinds[1 : 1 + len(runs_a)], classes, metric)
    score_b = _scorer(kinds[0], kinds[1 + len(runs_a) :], classes, metric)
    generator = stream_generator(seed, "bootstrap")
    draws = [
        _mean_over_drawn_seeds(score_a(chunk), generator) - _mean_over_drawn_seeds(score_b(chunk), generator)
        for chunk in resampled_counts(counts, resamples, generator)
    ]
    observed = score_a(counts[None]).mean() - score_b(counts[None]).mean()
    return _summary(float(observed), np.concatenate(draws))


def paired_bootstrap(
    scores_a: FloatArray, scores_b: FloatArray, *, resamples: int = 2000, seed: int = 0
) -> Difference:
    """Difference of the means of any score per row (log loss, squared error), with a 95% paired bootstrap interval.

    The p-value inverts the percentile interval: twice the smaller of the shares of resamples on either side of 0,
    those at 0 counting on both and the observed rows counting as one more resample (so it is never 0; Davison and
    Hinkley 1997, section 4.2), at most 1.

    Args:
        scores_a: ``[N]`` finite scores of the first method.
        scores_b: ``[N]`` finite scores of the second method, on the same rows in the same order.
        resamples: bootstrap draws, at least 1.
        seed: of the stream ``bootstrap``.

    Raises:
        ValueError: no rows, shapes that differ, or a score that is not finite.
    """
    if scores_a.ndim != 1 or scores_a.shape != scores_b.shape or not len(scores_a):
        raise ValueError(f"expected two arrays [N] with N of at least 1, got {scores_a.shape} and {scores_b.shape}")
    gaps = np.asarray(scores_a, dtype=np.float64) - np.asarray(scores_b, dtype=np.float64)
    if not np.isfinite(gaps).all():
        raise ValueError(f"scores must be finite, but row {int(np.flatnonzero(~np.isfinite(gaps))[0])} is not")
    values, counts = np.unique(gaps, return_counts=True)
    generator = stream_generator(seed, "bootstrap")
    draws = [chunk @ values / len(gaps) for chunk in resampled_counts(counts, resamples, generator)]
    return _summary(float(gaps.mean()), np.concatenate(draws))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for many comparisons by Holm's step-down method (Holm 1979), in the order given.

    An adjusted value at or below alpha rejects, with the chance of any false rejection kept at alpha.

    Raises:
        ValueError: a value outside 0 to 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in 0 to 1, got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(value) for value in adjusted]


def minimum_detectable_difference(
    correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_], *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest difference in accuracy that McNemar's test on these rows would find with the power given.

    Solves the formula of `rows_needed` for the difference, with N and the share of discordant rows observed. A
    difference cannot exceed that share, so where the solution would, the share is taken to grow with it.

    Args:
        correct_a: ``[N]`` whether the first run's answers are right.
        correct_b: ``[N]`` the same of the second run.
        alpha: two-sided level, between 0 and 1.
        power: between 0.5 and 1.

    Returns:
        0 to 1; 1 where this many rows can show nothing.

    Raises:
        ValueError: no rows, shapes that differ, or an argument out of range.
    """
    b, c, n = _discordant(correct_a, correct_b)
    z_alpha, z_power = _quantiles(alpha, power)
    if n <= z_alpha**2:
        return 1.0
    # The root of n d^2 - 2 z_a sqrt(n psi) d + z_a^2 psi = z_p^2 (psi - d^2), formula (1) squared once, is
    # d = slope sqrt(psi); so d <= psi where sqrt(psi) >= slope.
    root = z_alpha * math.sqrt(n) + z_power * math.sqrt(n + z_power**2 - z_alpha**2)
    slope = root / (n + z_power**2)
    return min(1.0, slope * max(math.sqrt((b + c) / n), slope))


def rows_needed(difference: float, discordance: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Rows that McNemar's test needs to find a difference in accuracy.

    Connor (1987), "Sample size for testing differences in proportions for the paired-sample design":

        n = (z_alpha sqrt(psi) + z_power sqrt(psi - d^2))^2 / d^2                                              (1)

    It approximates the test by the normal distribution; the exact test needs a few rows more.

    Args:
        difference: d, in accuracy, not 0; the sign does not matter.
        discordance: psi, the share of rows on which exactly one of the two is right, 0 to 1. It cannot be below
            ``abs(difference)`` and is raised to that.
        alpha: two-sided level, between 0 and 1; for a one-sided test at 5% give 0.10.
        power: between 0.5 and 1.

    Raises:
        ValueError: an argument out of range.
    """
    size = abs(difference)
    if not 0 < size <= 1 or not 0 <= discordance <= 1:
        raise ValueError(
            f"the difference must lie in -1 to 1 and not be 0, the discordance in 0 to 1, "
            f"got {difference} and {discordance}"
        )
    z_alpha, z_power = _quantiles(alpha, power)
    psi = max(discordance, size)
    return math.ceil(((z_alpha * math.sqrt(psi) + z_power * math.sqrt(psi - size**2)) / size) ** 2)


def _scorer(gold: IntArray, predicted: IntArray, classes: int | npt.NDArray[np.bool_], metric: Metric) -> Scorer:
    """How a method scores on resamples, from the kinds of rows: gold ``[P]`` and predictions ``[S, P]``."""
    correct = (predicted == gold).T.astype(np.float64)
    if metric == "accuracy":
        return lambda counts: counts @ correct / counts.sum(axis=1, keepdims=True)
    if metric != "macro_f1":
        raise ValueError(f"metric must be 'accuracy' or 'macro_f1', got {metric!r}")
    if isinstance(classes, int):
        n_classes = classes
        chosen_is = _indicators(predicted, predicted >= 0, n_classes)
        right_is = _indicators(predicted, predicted == gold, n_classes)
        gold_is = _indicators(gold[None], np.ones((1, len(gold)), dtype=np.bool_), n_classes)
    else:
        n_classes = classes.shape[1]
        given, held = classes[predicted] & (predicted >= 0)[:, :, None], classes[gold][None]
        chosen_is, right_is, gold_is = _flattened(given), _flattened(given & held), _flattened(held)

    def score(counts: IntArray) -> Draws:
        shape = (len(counts), -1, n_classes)
        right, chosen, of_gold = ((counts @ kind).reshape(shape) for kind in (right_is, chosen_is, gold_is))
        return macro_f1_from_counts(right, of_gold, chosen)

    return score


def _indicators(values: IntArray, where: npt.NDArray[np.bool_], n_classes: int) -> csr_array:
    """Sparse 0/1 matrix ``[P, S * C]``: kind p has a 1 in column ``s * C + values[s, p]`` where ``where`` says so."""
    seeds, kinds = np.nonzero(where)
    columns = seeds * n_classes + values[seeds, kinds]
    shape = (values.shape[1], values.shape[0] * n_classes)
    return csr_array((np.ones(len(kinds), dtype=np.int64), (kinds, columns)), shape=shape)


def _flattened(members: npt.NDArray[np.bool_]) -> csr_array:
    """`_indicators` of sets: from whether kind p of seed s has label c, ``[S, P, C]``."""
    return csr_array(members.transpose(1, 0, 2).reshape(members.shape[1], -1).astype(np.int64))


def _mean_over_drawn_seeds(values: Draws, generator: np.random.Generator) -> Draws:
    """The mean of ``[R, S]`` over S seeds drawn with replacement, separately for each resample; ``[R]``."""
    seeds = values.shape[1]
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(values))
    mean: Draws = (values * drawn).sum(axis=1) / seeds
    return mean


def _summary(observed: float, draws: Draws) -> Difference:
    draws = np.where(np.abs(draws) < _ROUNDING, 0.0, draws)
    low, high = percentiles(draws, 0.025, 0.975)
    side = 1 + min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return Difference(
        difference=0.0 if abs(observed) < _ROUNDING else observed,
        low=low,
        high=high,
        lower_bound=float(np.quantile(draws, 0.05)),
        p_value=min(1.0, 2 * side / (len(draws) + 1)),
    )


def _check_runs(gold: IntArray, runs: IntArray, n_classes: int) -> None:
    if gold.ndim != 1 or not len(gold) or runs.ndim != 2 or runs.shape[1] != len(gold) or not len(runs):
        raise ValueError(f"expected gold [N] and predictions [S, N], got {gold.shape} and {runs.shape}")
    if min(gold.min(), runs.min() + 1) < 0 or max(gold.max(), runs.max()) >= n_classes:
        raise ValueError(
            f"labels must lie in 0 to {n_classes - 1} (predictions may be -1), got gold {gold.min()} to {gold.max()} "
            f"and predictions {runs.min()} to {runs.max()}"
        )


def _discordant(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    if correct_a.ndim != 1 or correct_a.shape != correct_b.shape or not len(correct_a):
        raise ValueError(f"expected two arrays [N] with N of at least 1, got {correct_a.shape} and {correct_b.shape}")
    first, second = correct_a.astype(np.bool_), correct_b.astype(np.bool_)
    return int((first & ~second).sum()), int((second & ~first).sum()), len(first)


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    if not 0 < alpha < 1 or not 0.5 <= power < 1:
        raise ValueError(f"alpha must lie between 0 and 1 and power in 0.5 to 1, got {alpha} and {power}")
    return float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
