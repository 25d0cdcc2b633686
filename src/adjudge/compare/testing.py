"""Every method against the reference on the same test rows: intervals, tests, and what is shown of the margin."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from adjudge.compare.deciding import DecidingMetric, row_scores
from adjudge.compare.fairness import LoadedRun
from adjudge.compare.results import CompareOptions, PairedTest
from adjudge.core.types import FloatArray
from adjudge.evaluate.metrics import PROBABILITY_FLOOR
from adjudge.evaluate.paired import (
    Difference,
    SimultaneousBounds,
    difference,
    holm,
    lower_draws,
    mcnemar,
    minimum_detectable_difference,
    simultaneous_bounds,
    upper_draws,
)
from adjudge.evaluate.population import Values, count_values, mean_values

ALPHA = 0.05
POWER = 0.8
MOST_TIMES = 1000
"""More than this many times the test rows at hand is no number to plan with."""

Members = Mapping[str, Sequence[LoadedRun]]


def values_by_label(
    members: Members, metric: DecidingMetric, costs: FloatArray | None, *, resamples: int, seed: int
) -> dict[str, Values]:
    """Draws of the metric on test for every method, over one population; higher is better, losses are negated.

    Args:
        members: the runs of every method; all have answered the same rows.
        metric: a key of `DECIDING`.
        costs: ``[C, C]`` from `cost_matrix`, for ``cost``.
        resamples: draws.
        seed: of the stream ``bootstrap``.

    Raises:
        ConfigError: ``cost`` without costs, or for a multi-label task.
    """
    first = next(iter(members.values()))[0]
    if metric in ("macro_f1", "mcc"):
        answers = [np.stack([run.test.predicted for run in runs]) for runs in members.values()]
        classes = first.test.classes(first.labels)
        values = count_values(first.test.gold, answers, classes, metric, resamples=resamples, seed=seed)
        return dict(zip(members, values, strict=True))
    score = row_scores(metric, costs)
    scores = [np.stack([score(run.test) for run in runs]) for runs in members.values()]
    bounds = {"accuracy": (0.0, 1.0), "cost": (-float(np.max(costs, initial=0.0)) if costs is not None else 0.0, 0.0)}
    # A confident mistake costs as much as probabilities of float32 allow, whether or not the rows at hand show one.
    worst = float(np.log(PROBABILITY_FLOOR))
    values = mean_values(scores, bounds.get(metric, (worst, 0.0)), resamples=resamples, seed=seed)
    return dict(zip(members, values, strict=True))


@dataclass(frozen=True)
class _Together:
    """Bounds that hold for all methods of a family at once; ``upper`` are lower bounds of minus the difference."""

    lower: SimultaneousBounds
    upper: SimultaneousBounds


def tests_of(
    values: Mapping[str, Values],
    reference: str,
    family: Collection[str],
    metric: DecidingMetric,
    members: Members,
    options: CompareOptions,
) -> list[PairedTest]:
    """The paired tests of one metric, one for every method but the reference, in the order of ``values``.

    Args:
        values: from `values_by_label`.
        reference: its label.
        family: the methods of which one may be chosen: their bounds hold together. Of the others each holds alone.
        metric: of the values.
        members: the runs of every method.
        options: the margin.
    """
    others = [label for label in values if label != reference]
    differences = {label: difference(values[label], values[reference]) for label in others}
    adjusted = dict(zip(others, holm([differences[label].p_value for label in others]), strict=True)) if others else {}
    families = [[label for label in others if label in family], *([label] for label in others if label not in family)]
    tests: dict[str, PairedTest] = {}
    for labels in filter(None, families):
        lower = [lower_draws(values[label], values[reference]) for label in labels]
        upper = [-upper_draws(values[label], values[reference]) for label in labels]
        together = _Together(
            simultaneous_bounds(lower, -options.margin, ALPHA), simultaneous_bounds(upper, options.margin, ALPHA)
        )
        for place, label in enumerate(labels):
            pair = (members[label], members[reference])
            tests[label] = _test(label, metric, differences[label], adjusted[label], (together, place), pair, options)
    return [tests[label] for label in others]


def _test(
    label: str,
    metric: str,
    paired: Difference,
    adjusted: float,
    bounds: tuple[_Together, int],
    pair: tuple[Sequence[LoadedRun], Sequence[LoadedRun]],
    options: CompareOptions,
) -> PairedTest:
    together, place = bounds
    ours, theirs = pair
    error = (paired.high - paired.low) / (2 * float(norm.ppf(0.975)))
    detectable = error * float(norm.ppf(0.975) + norm.ppf(POWER)) or None
    mcnemar_p: float | None = None
    if metric == "accuracy" and len(ours) == len(theirs) == 1:
        correct = [side[0].test.predicted == side[0].test.gold for side in pair]
        mcnemar_p = mcnemar(correct[0], correct[1]).p_value
        detectable = minimum_detectable_difference(correct[0], correct[1], power=POWER)
    lower = together.lower.lower[place]
    verdict: Literal["within", "beyond", "open"] = "open"
    if lower > -options.margin:
        verdict = "within"
    elif together.upper.lower[place] > options.margin:
        verdict = "beyond"
    rows = len(ours[0].test.gold)
    needed = rows_to_settle(paired.difference + options.margin, error, rows, together.lower.level)
    return PairedTest(
        label=label,
        metric=metric,
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        lower_bound=lower,
        p_value=paired.p_value,
        p_adjusted=adjusted,
        p_beyond=together.lower.p_values[place],
        mcnemar_p=mcnemar_p,
        detectable=detectable,
        rows_needed=needed if verdict == "open" else None,
        verdict=verdict,
    )


def rows_to_settle(distance: float, error: float, rows: int, level: float = ALPHA) -> int | None:
    """Test rows at which a loss this far from the margin would be settled, one-sided, with 80% power.

    The standard error of the paired difference shrinks with the root of the rows, so
    ``N (error (z_{1-level} + z_0.8) / distance)^2``; what seeds add to it is taken to shrink alike.

    Args:
        distance: from the observed difference to the margin.
        error: standard error of the difference on ``rows`` rows.
        rows: N.
        level: one-sided.

    Returns:
        None where the distance is so small that the number would mean nothing.
    """
    reach = error * float(norm.ppf(1 - level) + norm.ppf(POWER))
    if reach == 0 or abs(distance) * math.sqrt(MOST_TIMES) < reach:
        return None
    return math.ceil(rows * (reach / distance) ** 2)


def beaten(constants: Collection[str], values: Mapping[str, Values]) -> frozenset[str]:
    """Those of the constant answers that some other method is shown to be better than, at 5% over all of them."""
    shown = set()
    for label in constants:
        others = [difference(own, values[label]) for name, own in values.items() if name != label]
        adjusted = holm([one.p_value for one in others]) if others else []
        if any(p <= ALPHA and one.difference > 0 for p, one in zip(adjusted, others, strict=True)):
            shown.add(label)
    return frozenset(shown)
