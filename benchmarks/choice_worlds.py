"""Worlds with a known truth: methods whose answers are drawn from known chances.

What a metric is worth in the population is computed from the expected counts of gold labels and answers, never from
the rows that are drawn. With one seed the truth is that of the run at hand; with several it is the mean over all
seeds, taken on a grid of their distribution. A label without a test row is left out of the true macro-F1 too: the
comparison says that it does not speak of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from adjudge.compare.deciding import DecidingMetric
from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.metrics import NO_ANSWER, macro_f1_from_counts

Floats = npt.NDArray[np.float64]
Sets = npt.NDArray[np.bool_]

SEED_GRID = norm.ppf((np.arange(201) + 0.5) / 201)
"""Standard normal quantiles in equal steps: the seeds over which a method's true value is the mean."""


@dataclass(frozen=True)
class Setup:
    """What is asked of a world, however its answers are drawn.

    Attributes:
        name: ``theme/what``.
        metric: that decides.
        margin: of the choice.
        labels: C.
        clear: who should be chosen where the truth is clear, ``cheaper`` or ``reference``; else None.
        limit: the assumption of the comparison that this world breaks on purpose; empty where it breaks none.
        costs: ``[C, C]`` of mistakes, for the metric ``cost``.
    """

    name: str
    metric: DecidingMetric
    margin: float
    labels: int
    clear: str | None = None
    limit: str = ""
    costs: FloatArray | None = None


@dataclass(frozen=True)
class Sample:
    """What one comparison sees, and the truth behind it.

    Attributes:
        gold: ``[N]`` label indices, or codes of sets.
        answers: of each method ``[S, N]``, the reference first, the cheapest last.
        truths: the metric of each method in the population, higher is better.
        probs: of each method ``[S, N, C]``, where the metric needs them.
        sets: ``[K, C]``, where texts have several labels.
    """

    gold: IntArray
    answers: Sequence[IntArray]
    truths: Floats
    probs: Sequence[npt.NDArray[np.float32]] | None = None
    sets: Sets | None = None


class World(Protocol):
    """Where samples come from."""

    @property
    def setup(self) -> Setup:
        """See there."""
        ...

    @property
    def described(self) -> dict[str, Any]:
        """Facts for the record, JSON-ready."""
        ...

    def draw(self, generator: np.random.Generator) -> Sample:
        """New runs on a new test set."""
        ...


@dataclass(frozen=True)
class CountWorld:
    """Methods given by the chance of every answer to every label.

    How hard a row is, is shared by all methods in part (``shared``); the rest belongs in equal parts to the method and
    the row, and to the run and the row. So errors are correlated while every run's chances are exactly as given. A
    run's answers to a row are ordered by their index behind the gold label, so that methods often make the same
    mistake.

    Attributes:
        setup: see there.
        label_rows: ``[K]`` test rows of each label (or set); with ``rows`` only their proportions matter.
        methods: of each method ``[K, K + 1]`` chances, the last that of no answer; the reference first, the cheapest
            last.
        seeds: of each method.
        seed_sd: standard deviation over seeds of every label's recall, cut off at 0 and 1.
        collapse: the chance that a seed of a cheaper method fails, and how much lower its recall is then.
        shared: correlation of two methods on a row, 0 to 1.
        random: label counts are drawn too; else they are those given, as in a stratified split.
        rows: N, where label counts are drawn and do not add up to it.
        sets: ``[K, C]``, where texts have several labels.
    """

    setup: Setup
    label_rows: IntArray
    methods: tuple[Floats, ...]
    seeds: tuple[int, ...]
    seed_sd: float = 0.0
    collapse: tuple[float, float] = (0.0, 0.0)
    shared: float = 0.7
    random: bool = False
    rows: int | None = None
    sets: Sets | None = None

    @cached_property
    def shares(self) -> Floats:
        """Of the labels in the population, ``[K]``."""
        return np.asarray(self.label_rows / self.label_rows.sum())

    @property
    def n_rows(self) -> int:
        """N."""
        return self.rows or int(self.label_rows.sum())

    @cached_property
    def true_means(self) -> Floats:
        """The metric of every method, ``[M]``: the mean over all seeds, where every label has rows."""
        return np.array([self._mean(place, self.shares > 0) for place in range(len(self.methods))])

    @property
    def described(self) -> dict[str, Any]:
        """Facts for the record."""
        held = self.shares if self.sets is None else self.shares @ self.sets
        return {
            "rows": self.n_rows,
            "rarest": round(float(held.min() * self.n_rows)),
            "candidates": len(self.methods) - 1,
            "seeds": list(self.seeds),
            "seed_sd": self.seed_sd,
            "shared": self.shared,
            "random_counts": self.random,
            "differences": [float(round(d, 5)) for d in self.true_means[1:] - self.true_means[0]],
        }

    def draw(self, generator: np.random.Generator) -> Sample:
        """New runs on a new test set."""
        rows = self.label_rows
        if self.random:
            rows = generator.multinomial(self.n_rows, self.shares)
        gold = np.repeat(np.arange(len(rows)), rows)
        of_row, rest = generator.standard_normal(len(gold)), (1 - self.shared) / 2
        answers, truths = [], []
        for place, (method, seeds) in enumerate(zip(self.methods, self.seeds, strict=True)):
            effects = self.seed_sd * generator.standard_normal(seeds)
            if place:
                effects = effects - self.collapse[1] * (generator.random(seeds) < self.collapse[0])
            chances = shifted(method, effects)
            ease = np.sqrt(self.shared) * of_row + np.sqrt(rest) * generator.standard_normal(len(gold))
            ease = ease + np.sqrt(rest) * generator.standard_normal((seeds, len(gold)))
            answers.append(np.stack([_answers(gold, *run) for run in zip(chances, norm.cdf(ease), strict=True)]))
            if seeds == 1:
                truths.append(float(self._value(chances[0], rows > 0)))
            else:
                truths.append(self.true_means[place] if (rows > 0).all() else self._mean(place, rows > 0))
        return Sample(gold, answers, np.array(truths), sets=self.sets)

    def _mean(self, place: int, held: Sets) -> float:
        chance, depth = self.collapse if place else (0.0, 0.0)
        effects = self.seed_sd * SEED_GRID if self.seeds[place] > 1 else np.zeros(1)
        of_seeds = [self._value(shifted(self.methods[place], effects - low), held).mean() for low in (0.0, depth)]
        return float((1 - chance) * of_seeds[0] + chance * of_seeds[1])

    def _value(self, chances: Floats, held: Sets) -> Floats:
        return value_of(self.setup, self.shares, chances, held, self.sets)


def value_of(setup: Setup, shares: Floats, chances: Floats, held: Sets, sets: Sets | None = None) -> Floats:
    """The metric in the population, ``[...]``, from the expected counts of gold labels and answers.

    Args:
        setup: metric and costs; any metric but ``log_loss``.
        shares: ``[K]`` of gold labels (or sets).
        chances: ``[..., K, K + 1]`` of each answer to each gold label; the last column is no answer.
        held: ``[K]`` which of them the test set has.
        sets: ``[K, C]`` for several labels.
    """
    joint = shares[:, None] * chances
    right, given = np.diagonal(joint, axis1=-2, axis2=-1), joint.sum(axis=-2)[..., :-1]
    if setup.metric == "accuracy":
        return np.asarray(right.sum(axis=-1))
    if setup.metric == "cost" and setup.costs is not None:
        return np.asarray(-(joint * np.column_stack([setup.costs, setup.costs.max(axis=1)])).sum(axis=(-2, -1)))
    if sets is not None:
        table = sets.astype(np.float64)
        right = np.einsum("...ga,gl,al->...l", joint[..., :-1], table, table)
        given, shares, held = given @ table, shares @ table, (held @ table) > 0
    if setup.metric == "macro_f1":
        return macro_f1_from_counts(right[..., held], shares[held], given[..., held])
    spread = (1 - (shares**2).sum()) * (1 - (given**2).sum(axis=-1) - (1 - given.sum(axis=-1)) ** 2)
    return np.asarray((right.sum(axis=-1) - (shares * given).sum(axis=-1)) / np.sqrt(spread))


def shifted(chances: Floats, recall: Floats) -> Floats:
    """Chances ``[K, K + 1]`` of runs whose recall is shifted by ``recall`` ``[S]``: ``[S, K, K + 1]``.

    The recall of every label moves alike, cut off at 0 and 1; the chances of its mistakes keep their proportions.
    """
    if not recall.any():
        return np.broadcast_to(chances, (len(recall), *chances.shape))
    own = np.arange(len(chances))
    before = chances[own, own]
    after = np.clip(before + recall[:, None], 0.0, 1.0)
    moved = chances * ((1 - after) / np.maximum(1 - before, 1e-12))[:, :, None]
    moved[:, own, own] = after
    return moved


def _answers(gold: IntArray, chances: Floats, ease: Floats) -> IntArray:
    """The answers of one run, ``[N]``: right where ``ease`` lies below the recall, else a mistake by its chance."""
    n = len(chances)
    order = np.stack([np.r_[label, np.delete(np.arange(n + 1), label)] for label in range(n)])
    ends = np.cumsum(np.take_along_axis(chances, order, axis=1), axis=1)
    ends[:, -1] = 1.0
    place = np.searchsorted((ends + np.arange(n)[:, None]).ravel(), gold + ease, side="right") - gold * (n + 1)
    given = order[gold, np.minimum(place, n)]
    return np.where(given == n, NO_ANSWER, given)


@dataclass(frozen=True)
class LossWorld:
    """Methods that differ in log loss, on two labels.

    The log odds of the gold label are normal, or, with a small chance, those of a confident mistake.

    Attributes:
        setup: see there.
        rows: N.
        methods: of each method the mean and the standard deviation of the log odds, the chance of a confident mistake
            and its log odds; the reference first, the cheapest last.
        shared: correlation of two methods on a row, 0 to 1.
    """

    setup: Setup
    rows: int
    methods: tuple[tuple[float, float, float, float], ...]
    shared: float = 0.7

    @cached_property
    def true_means(self) -> Floats:
        """Minus the mean loss of every method, ``[M]``."""
        grid = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
        means = []
        for mean, sd, chance, odds in self.methods:
            usual, mistaken = np.logaddexp(0, -(mean + sd * grid)).mean(), np.logaddexp(0, -odds)
            means.append(-((1 - chance) * usual + chance * mistaken))
        return np.array(means)

    @property
    def described(self) -> dict[str, Any]:
        """Facts for the record."""
        differences = [float(round(d, 5)) for d in self.true_means[1:] - self.true_means[0]]
        return {
            "rows": self.rows,
            "rarest": self.rows // 2,
            "candidates": len(self.methods) - 1,
            "seeds": [1] * len(self.methods),
            "seed_sd": 0.0,
            "shared": self.shared,
            "random_counts": False,
            "differences": differences,
        }

    def draw(self, generator: np.random.Generator) -> Sample:
        """New runs on a new test set."""
        gold = np.arange(self.rows) % 2
        of_row = generator.standard_normal(self.rows)
        probs = []
        for mean, sd, chance, mistaken in self.methods:
            own = generator.standard_normal(self.rows)
            odds = mean + sd * (np.sqrt(self.shared) * of_row + np.sqrt(1 - self.shared) * own)
            odds = np.where(generator.random(self.rows) < chance, mistaken, odds)
            of_gold = 1 / (1 + np.exp(-odds))
            probs.append(np.where(np.arange(2) == gold[:, None], of_gold[:, None], 1 - of_gold[:, None])[None])
        answers = [one.argmax(axis=2) for one in probs]
        return Sample(gold, answers, self.true_means, probs=[one.astype(np.float32) for one in probs])
