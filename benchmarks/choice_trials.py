"""One comparison in a world, made with the product's own code, and what came of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
from choice_worlds import Floats, Sample, Setup, World
from scipy.stats import beta

from adjudge.compare.choice import cheaper_than, choose
from adjudge.compare.fairness import LoadedRun
from adjudge.compare.results import CompareOptions, MethodGroup
from adjudge.compare.testing import beaten, tests_of, values_by_label
from adjudge.core.runs import Run
from adjudge.evaluate.arrays import Arrays
from adjudge.evaluate.intervals import macro_f1_interval

COST = "prediction_seconds_per_1000_rows"
OUTCOMES = ("cheaper", "reference", "cannot tell")
OWN_INTERVALS = 2
"""Of so many methods the interval of the macro-F1 itself is looked at; the others are like them."""


@dataclass(frozen=True)
class Trial:
    """One comparison against the truth.

    Attributes:
        outcome: one of `OUTCOMES`.
        wrong: the chosen method's true value lies the margin or more below the reference's.
        bound_fails: some cheaper method's true difference lies below the bound that is to hold for all of them.
        wrongly_beyond: some method is said to lose more than the margin and does not.
        differences_covered: share of the two-sided intervals of differences that cover the truth.
        own_covered: the same of the methods' own macro-F1, None where another metric decides.
    """

    outcome: str
    wrong: bool
    bound_fails: bool
    wrongly_beyond: bool
    differences_covered: float
    own_covered: float | None


def run_trial(world: World, repeat: int, draws: int) -> Trial:
    """One comparison of new runs on a new test set; equal arguments give equal results.

    Args:
        world: see there.
        repeat: number of this repeat, the seed of its rows and of its draws.
        draws: of the population, in each comparison.
    """
    setup = world.setup
    generator = np.random.default_rng([crc32(setup.name.encode()), repeat])
    sample = world.draw(generator)
    names = ["reference", *(f"cheaper {place}" for place in range(1, len(sample.answers)))]
    members = {name: _runs(name, place, sample, setup) for place, name in enumerate(names)}
    groups = [_group(name, place, sample) for place, name in enumerate(names)]
    options = CompareOptions(margin=setup.margin, cost=COST, metric=setup.metric, resamples=draws, seed=repeat)
    values = values_by_label(members, setup.metric, setup.costs, resamples=draws, seed=repeat)
    family = cheaper_than(groups[0], groups, COST)
    tests = tests_of(values, names[0], family, setup.metric, members, options)
    floors = beaten([group.label for group in groups if group.constant], values)
    choice, _ = choose(groups, groups[0], tests, len(sample.gold), options, floors)
    true = dict(zip(names, sample.truths - sample.truths[0], strict=True))
    return Trial(
        outcome="cannot tell" if choice is None else "reference" if choice == names[0] else "cheaper",
        wrong=choice is not None and choice != names[0] and bool(true[choice] <= -setup.margin),
        bound_fails=any(bool(true[test.label] < test.lower_bound) for test in tests),
        wrongly_beyond=any(test.verdict == "beyond" and bool(true[test.label] >= -setup.margin) for test in tests),
        differences_covered=float(np.mean([test.low <= true[test.label] <= test.high for test in tests])),
        own_covered=_own_covered(sample, setup, draws, repeat) if setup.metric == "macro_f1" else None,
    )


def _runs(name: str, place: int, sample: Sample, setup: Setup) -> list[LoadedRun]:
    labels = tuple(f"label {number}" for number in range(setup.labels))
    nothing = np.zeros((len(sample.gold), 0), dtype=np.float32)
    runs = []
    for seed, answers in enumerate(sample.answers[place]):
        probs = nothing if sample.probs is None else sample.probs[place][seed]
        arrays = Arrays((), sample.gold, answers, probs, nothing, np.arange(len(answers)), 0, sample.sets)
        runs.append(LoadedRun(Run(Path(f"{name} {seed}")), {}, labels, pl.DataFrame(), arrays, None))
    return runs


def _group(name: str, place: int, sample: Sample) -> MethodGroup:
    answers = sample.answers[place]
    return MethodGroup(
        label=name,
        method=name,
        model=None,
        runs=(),
        seeds=tuple(range(len(answers))),
        validation={},
        test={},
        intervals={},
        costs={COST: 1.0 / (1 + place)},
        labels_used={},
        truncated=0.0,
        on_front=False,
        constant=all(len(np.unique(run)) == 1 for run in answers),
    )


def _own_covered(sample: Sample, setup: Setup, draws: int, seed: int) -> float:
    classes = setup.labels if sample.sets is None else sample.sets
    covered = []
    for answers, truth in list(zip(sample.answers, sample.truths, strict=True))[:OWN_INTERVALS]:
        low, high = macro_f1_interval(sample.gold, answers, classes, resamples=draws, seed=seed)
        covered.append(low <= truth <= high)
    return float(np.mean(covered))


def summary(world: World, trials: Sequence[Trial]) -> dict[str, Any]:
    """What many comparisons in one world came to: counts, shares and 95% intervals of their simulation error."""
    setup, n = world.setup, len(trials)
    own = [trial.own_covered for trial in trials if trial.own_covered is not None]
    return {
        "world": setup.name,
        "metric": setup.metric,
        "margin": setup.margin,
        "labels": setup.labels,
        "clear": setup.clear,
        "limit": setup.limit,
        **world.described,
        "repeats": n,
        "wrong": _share([trial.wrong for trial in trials]),
        "bound_fails": _share([trial.bound_fails for trial in trials]),
        "wrongly_beyond": _share([trial.wrongly_beyond for trial in trials]),
        "differences_covered": _mean([trial.differences_covered for trial in trials]),
        "own_covered": _mean(own) if own else None,
        "outcomes": {what: sum(trial.outcome == what for trial in trials) / n for what in OUTCOMES},
    }


def _share(events: Sequence[bool]) -> dict[str, float]:
    """A share with its exact interval (Clopper and Pearson 1934)."""
    k, n = sum(events), len(events)
    low, high = exact_interval(k, n)
    return {"share": k / n, "low": low, "high": high}


def exact_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a share of k in n by Clopper and Pearson."""
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    return low, 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))


def _mean(shares: Sequence[float]) -> dict[str, float]:
    """A mean of shares over repeats, with a normal interval: within a repeat they belong together."""
    values: Floats = np.asarray(shares, dtype=np.float64)
    mean, error = float(values.mean()), float(values.std() / np.sqrt(len(values)))
    if error == 0:
        low, high = exact_interval(round(mean * len(values)), len(values))
    else:
        low, high = max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error)
    return {"share": mean, "low": low, "high": high}
