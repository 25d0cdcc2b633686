"""What the population behind the test rows may be: draws of row weights, and the row that nobody saw.

A population that fits N rows is drawn as weights of the rows, exponential and independent (the Bayesian bootstrap,
Rubin 1981), with one more row that the rows at hand do not show. For a lower bound that row is the worst there can be,
for an upper bound the best. The alpha-quantile of a mean of bounded scores over such draws is Gaffke's lower bound
(Gaffke 2005; Learned-Miller and Thomas 2019), of which no sample size is known where it fails: for the accuracy of one
run it is the bound of Clopper and Pearson, for the difference of two runs and a margin of 0 McNemar's exact test.

A label's F1 rests on the rows of that label, so there the unseen row is spread over the k rarest labels, for several
k, and the worst of these counts. How many rows a label has is taken from the test set, not from the weights, and the
weights of a label's few rows vary more (`label_shapes`): what these say then varies as a small sample does. Another
test set would have more or fewer of them beside the same number of false alarms, so these are drawn for each row of
the label (`alarms_per_row`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from adjudge.core.seeds import stream_generator
from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.kinds import Classes, RowKinds, row_kinds
from adjudge.evaluate.metrics import macro_f1_from_counts

Draws = npt.NDArray[np.float64]
CountMetric = Literal["macro_f1", "mcc"]

LEAST_SHAPE = 0.5
"""Of the weights of a label's first four rows."""

_CELLS_AT_ONCE = 4_000_000
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Values:
    """A method's metric in every draw, higher is better, one row for each way of spreading the unseen row.

    Attributes:
        observed: the metric on the rows themselves, its mean over seeds.
        lost: ``[L, R]`` if the unseen row is one that this method has wrong.
        won: ``[L, R]`` if it is one that this method has right.
        spread: ``[R]`` what its mean over other seeds could add; zeros for one seed or a method without chance.
    """

    observed: float
    lost: Draws
    won: Draws
    spread: Draws


def count_values(
    gold: IntArray,
    methods: Sequence[IntArray],
    classes: Classes,
    metric: CountMetric,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Values]:
    """Draws of a metric of counts for several methods, all over the same weights of the rows.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1, or codes of sets.
        methods: of each method ``[S, N]`` label indices or codes, or `metrics.NO_ANSWER`; S seeds.
        classes: see `Classes`.
        metric: ``macro_f1`` or ``mcc``.
        resamples: R, at least 1.
        seed: of the stream ``bootstrap``.

    Returns:
        The mean over its seeds for each method.

    Raises:
        ValueError: no rows, shapes that do not fit, an index out of range, or no resamples.
    """
    kinds = row_kinds(gold, methods, classes)
    generator = stream_generator(seed, "bootstrap")
    counts = np.asarray(kinds.count @ kinds.held, dtype=np.float64)
    score = MacroF1(counts) if metric == "macro_f1" else _Matthews(counts, multi=not isinstance(classes, int))
    parts: list[list[tuple[Draws, Draws]]] = []
    for_labels = metric == "macro_f1"
    shape = label_shapes(kinds, counts) if for_labels else np.ones(len(kinds.count))
    for weights, unseen in _row_weights(kinds.count, shape, resamples, generator):
        labels = (len(weights), len(counts))
        held = generator.standard_gamma(counts, size=labels) if for_labels else weights @ kinds.held
        right, given = (
            (weights @ table).reshape(len(weights), -1, len(counts)) for table in (kinds.right, kinds.given)
        )
        if for_labels:
            given = right + alarms_per_row(given - right, held, counts)
        start, chunk = 0, []
        for runs in methods:
            own = slice(start, start + len(runs))
            chunk.append(score(held, right[:, own], given[:, own], unseen))
            start += len(runs)
        parts.append(chunk)
    observed = [score.observed(kinds, place) for place in _places(methods)]
    sides = [
        [np.concatenate([chunk[m][side] for chunk in parts], axis=1) for m in range(len(methods))] for side in (0, 1)
    ]
    return _with_seeds(observed, sides, resamples, generator)


def mean_values(
    methods: Sequence[FloatArray], bounds: tuple[float, float], *, resamples: int = 2000, seed: int = 0
) -> list[Values]:
    """Draws of a mean of bounded scores for several methods, all over the same weights of the rows.

    Args:
        methods: of each method ``[S, N]`` finite scores, higher is better; S seeds.
        bounds: the least and the greatest score that a row could have.
        resamples: R, at least 1.
        seed: of the stream ``bootstrap``.

    Raises:
        ValueError: no rows, shapes that differ, a score that is not finite or out of bounds, or no resamples.
    """
    rows = methods[0].shape[-1] if methods else 0
    if not rows or any(scores.ndim != 2 or scores.shape[1] != rows for scores in methods):
        raise ValueError(f"expected scores [S, N] of the same rows, got {[scores.shape for scores in methods]}")
    low, high = bounds
    means = np.stack([np.asarray(scores, dtype=np.float64).mean(axis=0) for scores in methods])
    outside = ~((means >= low - _ROUNDING) & (means <= high + _ROUNDING)).all(axis=0)
    if outside.any():
        raise ValueError(f"row {int(np.flatnonzero(outside)[0])}: scores must be finite and lie in {low} to {high}")
    kinds, count = np.unique(means, axis=1, return_counts=True)
    generator = stream_generator(seed, "bootstrap")
    lost, won = [], []
    for weights, unseen in _row_weights(count, np.ones(len(count)), resamples, generator):
        whole = weights.sum(axis=1, keepdims=True) + unseen
        total = weights @ kinds.T
        lost.append((total + unseen * low) / whole)
        won.append((total + unseen * high) / whole)
    sides = [list(np.concatenate(side).T[:, None]) for side in (lost, won)]
    return _with_seeds([scores.mean(axis=1) for scores in methods], sides, resamples, generator)


def alarms_per_row(alarms: Draws, sizes: Draws, counts: Draws) -> Draws:
    """False alarms beside a label's rows if there were ``sizes`` of them, brought to ``counts``.

    Args:
        alarms: ``[R, S, C]``.
        sizes: ``[R, C]`` draws of how many rows a label has.
        counts: ``[C]`` how many it has; where 0, alarms stay as they are.
    """
    shares = np.divide(counts, sizes, out=np.ones_like(sizes), where=sizes > 0)
    return np.asarray(alarms * shares[:, None])


class MacroF1:
    """Mean F1 over the labels that the test set has; a label's number of rows is the test set's.

    A label without a row is left out though some run may answer it: F1 = 0 in its place would belong to those runs
    alone that answer it, and dilute the difference of all others. Such an answer is a mistake all the same.
    """

    def __init__(self, counts: Draws) -> None:
        self.counts = counts
        self.present = counts > 0
        self.rarest = [label for label in np.argsort(counts, kind="stable") if counts[label] > 0]
        sizes = [2**power for power in range(len(self.rarest).bit_length())]
        self.sizes = sorted({min(size, len(self.rarest)) for size in [*sizes, len(self.rarest)]})

    def __call__(self, held: Draws, right: Draws, given: Draws, unseen: Draws) -> tuple[Draws, Draws]:
        """``held`` ``[R, C]``, ``right`` and ``given`` ``[R, S, C]``, ``unseen`` ``[R, 1]`` -> two of ``[L, R]``.

        ``held`` says how much the rows of a label weigh against the unseen one; gamma, its shape their number.
        """
        lost, won = [], []
        for size in self.sizes:
            share = np.zeros_like(held)
            labels = self.rarest[:size]
            share[:, labels] = unseen / size / (held[:, labels] + unseen / size)
            share = share[:, None]
            kept, gained = right * (1 - share), share * self.counts
            rest = given - right * share
            lost.append(self.mean(kept, rest).mean(axis=1))
            won.append(self.mean(kept + gained, rest + gained).mean(axis=1))
        return np.stack(lost), np.stack(won)

    def observed(self, kinds: RowKinds, place: slice) -> Draws:
        """The metric of every seed on the rows themselves, ``[S]``."""
        shape = (-1, len(self.counts))
        right, given = ((kinds.count @ table).reshape(shape)[place] for table in (kinds.right, kinds.given))
        return self.mean(right, given)

    def mean(self, right: Draws, given: Draws) -> Draws:
        """``[..., C]`` counts to the mean, ``[...]``."""
        at = self.present
        return macro_f1_from_counts(right[..., at], self.counts[at], given[..., at])


class _Matthews:
    """Matthews correlation; the unseen row has the rarest or the commonest label."""

    def __init__(self, counts: Draws, *, multi: bool) -> None:
        self.counts = counts
        self.multi = multi
        present = [label for label in np.argsort(counts, kind="stable") if counts[label] > 0]
        self.labels = sorted({present[0], present[-1]})
        self.answers = [next((o for o in reversed(present) if o != label), label) for label in self.labels]

    def __call__(self, held: Draws, right: Draws, given: Draws, unseen: Draws) -> tuple[Draws, Draws]:
        """As `MacroF1`."""
        rows = np.full(held.shape[0], self.counts.sum()) if self.multi else held.sum(axis=1)
        lost, won = [], []
        for label, answer in zip(self.labels, self.answers, strict=True):
            one, other = np.zeros((1, 1, held.shape[1])), np.zeros((1, 1, held.shape[1]))
            one[..., label], other[..., answer] = 1, float(answer != label)
            more = unseen[:, :, None]
            gold, whole = held[:, None] + more * one, (rows + unseen[:, 0])[:, None]
            lost.append(self._score(whole, gold, right, given + more * other).mean(axis=1))
            won.append(self._score(whole, gold, right + more * one, given + more * one).mean(axis=1))
        return np.stack(lost), np.stack(won)

    def observed(self, kinds: RowKinds, place: slice) -> Draws:
        """The metric of every seed on the rows themselves, ``[S]``."""
        shape = (-1, len(self.counts))
        right, given = ((kinds.count @ table).reshape(shape)[place] for table in (kinds.right, kinds.given))
        whole = np.full(len(right), float(kinds.count.sum()))
        return self._score(whole, self.counts[None], right, given)

    def _score(self, rows: Draws, gold: Draws, right: Draws, given: Draws) -> Draws:
        right_total, gold_total, given_total = right.sum(axis=-1), gold.sum(axis=-1), given.sum(axis=-1)
        if self.multi:
            cells = rows * gold.shape[-1]
            spread = gold_total * given_total * (cells - gold_total) * (cells - given_total)
            gain = cells * right_total - gold_total * given_total
        else:
            unanswered = np.maximum(rows - given_total, 0)
            spread = (rows**2 - (gold**2).sum(axis=-1)) * (rows**2 - (given**2).sum(axis=-1) - unanswered**2)
            gain = rows * right_total - (gold * given).sum(axis=-1)
        whole = spread > _ROUNDING * rows**4
        result: Draws = np.where(whole, gain / np.sqrt(np.where(whole, spread, 1.0)), 0.0)
        return result


def chunks(resamples: int, width: int) -> Iterator[int]:
    """Sizes that add up to ``resamples``, so that an array of one of them by ``width`` has bounded memory.

    Raises:
        ValueError: no resamples.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    most = max(1, _CELLS_AT_ONCE // width)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def label_shapes(kinds: RowKinds, counts: Draws) -> Draws:
    """Shape of the gamma weights of every kind of row, ``[P]``: 1 - 2 / n of the n rows of its (rarest) label.

    With shape 1 the F1 of a label with few rows varies too little from draw to draw, since it is the observed rows
    that are weighted: by simulation of 77 labels with four rows each the difference of two methods has 1.4 times the
    standard deviation of such draws, with ten rows 1.12 times, which is what these shapes give.

    Args:
        kinds: of the rows.
        counts: ``[C]`` rows of each label.
    """
    rows = kinds.count.sum()
    smallest = [counts[kinds.held[[kind]].indices].min(initial=rows) for kind in range(len(kinds.count))]
    return np.maximum(1 - 2 / np.array(smallest), LEAST_SHAPE)


def _row_weights(
    count: IntArray, shape: Draws, resamples: int, generator: np.random.Generator
) -> Iterator[tuple[Draws, Draws]]:
    """Weights of the kinds of rows, ``[R, P]``, that add up to the rows, and of the unseen row, ``[R, 1]``."""
    for size in chunks(resamples, len(count)):
        weights = generator.standard_gamma(count * shape, size=(size, len(count))) / shape
        scale = count.sum() / weights.sum(axis=1, keepdims=True)
        yield weights * scale, generator.exponential(size=(size, 1)) * scale


def _places(methods: Sequence[IntArray]) -> list[slice]:
    ends = np.cumsum([0, *(len(runs) for runs in methods)])
    return [slice(int(start), int(end)) for start, end in pairwise(ends)]


def _with_seeds(
    observed: Sequence[Draws], sides: Sequence[Sequence[Draws]], resamples: int, generator: np.random.Generator
) -> list[Values]:
    return [
        Values(float(scores.mean()), lost, won, seeds_spread(scores, resamples, generator))
        for scores, lost, won in zip(observed, *sides, strict=True)
    ]


def seeds_spread(scores: Draws, resamples: int, generator: np.random.Generator) -> Draws:
    """Draws of what other seeds could have added to a method's mean: t distributed, with the seeds' own spread.

    With S seeds the mean over seeds lies within ``t_{S-1} sd / sqrt(S)`` of the method's. For two methods the sum of
    both is the solution of Behrens and Fisher, which errs on the side of caution where seeds are few.

    Args:
        scores: ``[S]`` the metric of every seed.
        resamples: R.
        generator: source of the draws; as many are drawn whatever S is.

    Returns:
        ``[R]``; zeros for a single seed, of whose spread nothing is known: it speaks of a run, not of a method.
    """
    noise = generator.standard_t(max(len(scores) - 1, 1), size=resamples)
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return np.asarray(noise * (sd / np.sqrt(len(scores))), dtype=np.float64)
