"""Paired comparisons of classifiers on the same rows: tests, intervals, and what a test set can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from adjudge.core.types import IntArray
from adjudge.evaluate.kinds import Classes, row_kinds
from adjudge.evaluate.population import Draws, Values, count_values, mean_values

Metric = Literal["accuracy", "macro_f1", "mcc"]

_ROUNDING = 1e-12


@dataclass(frozen=True)
class McNemarTest:
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
    """A paired comparison, first minus second.

    Attributes:
        difference: on the rows themselves.
        low: lower end of the two-sided interval.
        high: upper end of the two-sided interval.
        lower_bound: one-sided lower bound at the same confidence: the difference is at least this.
        p_value: two-sided; of single runs and accuracy McNemar's exact one, up to the draws.
    """

    difference: float
    low: float
    high: float
    lower_bound: float
    p_value: float


def mcnemar(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> McNemarTest:
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
    return McNemarTest(b, c, n, float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0)


def paired_difference(
    gold: IntArray,
    predicted_a: IntArray,
    predicted_b: IntArray,
    classes: Classes,
    *,
    metric: Metric = "accuracy",
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Difference of two methods on the same rows, with a 95% interval over rows and, where there are several, seeds.

    A method's value is the mean over its seeds. For how rows and seeds are drawn see `population`: rows that nobody
    saw and labels with few rows widen the interval, and few seeds widen it as a t distribution does.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1.
        predicted_a: ``[Sa, N]`` (or ``[N]``) label indices of the first method's runs, or `metrics.NO_ANSWER`.
        predicted_b: ``[Sb, N]`` (or ``[N]``) of the second method's runs.
        classes: C; or of a multi-label task the table of sets ``[K, C]``, of which gold and predictions are rows.
        metric: ``accuracy``, ``macro_f1`` or ``mcc``.
        resamples: draws, at least 1.
        seed: of the stream ``bootstrap``.

    Raises:
        ValueError: no rows, shapes that do not fit, an index out of range, or an unknown metric.
    """
    methods = [np.atleast_2d(predicted_a), np.atleast_2d(predicted_b)]
    if metric == "accuracy":
        row_kinds(gold, methods, classes)
        scores = [(runs == gold).astype(np.float64) for runs in methods]
        values = mean_values(scores, (0.0, 1.0), resamples=resamples, seed=seed)
    elif metric in ("macro_f1", "mcc"):
        values = count_values(gold, methods, classes, metric, resamples=resamples, seed=seed)
    else:
        raise ValueError(f"metric must be 'accuracy', 'macro_f1' or 'mcc', got {metric!r}")
    return difference(*values)


def difference(first: Values, second: Values) -> Difference:
    """The difference of two methods from their draws, first minus second; draws of one population only."""
    lower, upper = lower_draws(first, second), upper_draws(first, second)
    observed = first.observed - second.observed
    side = min(_share_at_most(lower, 0.0), _share_at_most(-upper, 0.0))
    return Difference(
        difference=0.0 if abs(observed) < _ROUNDING else observed,
        low=float(np.quantile(lower, 0.025)),
        high=float(np.quantile(upper, 0.975)),
        lower_bound=float(np.quantile(lower, 0.05)),
        p_value=min(1.0, 2 * side),
    )


def lower_draws(first: Values, second: Values) -> Draws:
    """``[R]``: the difference if the unseen row speaks for the second, spread over labels so that it costs most."""
    draws = first.lost - second.won + first.spread - second.spread
    worst: Draws = draws[np.quantile(draws, 0.05, axis=1).argmin()]
    return np.where(np.abs(worst) < _ROUNDING, 0.0, worst)


def upper_draws(first: Values, second: Values) -> Draws:
    """``[R]``: the difference if the unseen row speaks for the first."""
    return -lower_draws(second, first)


@dataclass(frozen=True)
class SimultaneousBounds:
    """Lower bounds of K differences that hold together with 95% confidence, and the tests that they stand for.

    Attributes:
        lower: ``[K]`` all K differences are at least these.
        p_values: ``[K]`` adjusted for all K: at most 0.05 exactly where the lower bound lies above the threshold.
        level: what each of the bounds has for itself as its one-sided level, 0.05 / K to 0.05.
    """

    lower: tuple[float, ...]
    p_values: tuple[float, ...]
    level: float


def simultaneous_bounds(draws: Sequence[Draws], threshold: float, alpha: float = 0.05) -> SimultaneousBounds:
    """Lower bounds that hold for all differences at once, by the rank of the lowest of them (Beran 1988).

    Every difference gets a bound at the same quantile of its own draws; that quantile is the greatest at which at most
    ``alpha`` of the draws lie below any of the bounds. Differences that rise and fall together need hardly more than
    one; independent ones as much as Bonferroni's.

    Args:
        draws: K of ``[R]`` from `lower_draws`, over the same population.
        threshold: of the tests: the hypothesis is that a difference is at most this.
        alpha: level of all of them together.

    Raises:
        ValueError: no differences.
    """
    if not draws:
        raise ValueError("expected at least one difference")
    ordered = np.sort(np.stack(draws), axis=1)
    resamples = ordered.shape[1]
    # Draws at or below a value: its rank. The lowest rank of a draw decides whether any of the bounds fails it.
    ranks = np.stack([np.searchsorted(row, one, side="right") for row, one in zip(ordered, draws, strict=True)])
    lowest = np.sort(ranks.min(axis=0))
    depth = int(lowest[int(alpha * resamples)]) - 1
    below = np.stack([np.searchsorted(row, threshold, side="right") for row in ordered])
    adjusted = np.searchsorted(lowest, below, side="right") / resamples
    return SimultaneousBounds(
        lower=tuple(float(row[depth]) for row in ordered),
        p_values=tuple(float(max(p, 1 / (resamples + 1))) for p in adjusted),
        level=min(alpha, max(depth, 1) / resamples),
    )


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


def _share_at_most(draws: Draws, threshold: float) -> float:
    """Share of draws at or below a threshold, the rows themselves counted as one more: never 0."""
    return (1 + int((draws <= threshold).sum())) / (len(draws) + 1)


def _discordant(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    if correct_a.ndim != 1 or correct_a.shape != correct_b.shape or not len(correct_a):
        raise ValueError(f"expected two arrays [N] with N of at least 1, got {correct_a.shape} and {correct_b.shape}")
    first, second = correct_a.astype(np.bool_), correct_b.astype(np.bool_)
    return int((first & ~second).sum()), int((second & ~first).sum()), len(first)


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    if not 0 < alpha < 1 or not 0.5 <= power < 1:
        raise ValueError(f"alpha must lie between 0 and 1 and power in 0.5 to 1, got {alpha} and {power}")
    return float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
