"""Methods that differ from another by so much: what worlds are built of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from choice_worlds import CountWorld, Floats, Setup, value_of
from scipy.optimize import brentq

from adjudge.compare.deciding import DECIDING, DecidingMetric
from adjudge.core.types import IntArray

Change = Callable[[Floats, float], Floats]
"""Chances and a size, 0 to 1, to the chances of a method that is worse by so much."""


def chances(recall: Floats, mistakes: Floats) -> Floats:
    """``[K, K + 1]`` chances of answers: the recall of each label, and mistakes in proportion to ``mistakes``."""
    n = len(recall)
    weights = mistakes * (1 - np.eye(n))
    table = weights / weights.sum(axis=1, keepdims=True) * (1 - recall)[:, None]
    table[np.arange(n), np.arange(n)] = recall
    return np.column_stack([table, np.zeros(n)])


def lower_recall(labels: Sequence[int] | None = None) -> Change:
    """A share of the right answers of these labels (all where None) becomes mistakes of the usual kinds."""

    def change(table: Floats, size: float) -> Floats:
        worse, own = table.copy(), np.arange(len(table)) if labels is None else np.asarray(labels)
        recall = table[own, own]
        worse[own] = table[own] * ((1 - recall * (1 - size)) / (1 - recall))[:, None]
        worse[own, own] = recall * (1 - size)
        return worse

    return change


def false_alarms(label: int) -> Change:
    """A share of all other labels' right answers becomes this label."""

    def change(table: Floats, size: float) -> Floats:
        worse = table.copy()
        for gold in range(len(table)):
            if gold != label:
                worse[gold, gold] -= size * table[gold, gold]
                worse[gold, label] += size * table[gold, gold]
        return worse

    return change


def no_answer(table: Floats, size: float) -> Floats:
    """A share of all answers cannot be read."""
    worse = table * (1 - size)
    worse[:, -1] += size
    return worse


def differing(world: CountWorld, change: Change, differences: Sequence[float]) -> CountWorld:
    """The world with cheaper methods that differ from its one method by exactly so much; 0 or less each."""
    (reference,) = world.methods
    held = world.label_rows > 0

    def distance(size: float, wanted: float) -> float:
        pair = [
            value_of(world.setup, world.shares, table, held, world.sets)
            for table in (reference, change(reference, size))
        ]
        return float(pair[1] - pair[0]) - wanted

    sizes = [
        float(brentq(distance, 0.0, 0.999, args=(wanted,), xtol=1e-12)) if wanted else 0.0 for wanted in differences
    ]
    methods = (reference, *(change(reference, size) for size in sizes))
    seeds = world.seeds if len(world.seeds) == len(methods) else world.seeds[:1] * len(methods)
    return replace(world, methods=methods, seeds=seeds)


def counted(
    name: str,
    label_rows: Sequence[int] | IntArray,
    recall: Sequence[float] | float,
    *,
    metric: DecidingMetric = "macro_f1",
    mistakes: Floats | None = None,
    **options: Any,
) -> CountWorld:
    """A world of labels that exclude one another, with its reference alone.

    Args:
        name: of the world.
        label_rows: ``[C]``.
        recall: of the reference, of all labels or of each.
        metric: that decides.
        mistakes: ``[C, C]`` how many times as often as another of its size a label is answered for another.
        options: the other fields of `Setup` and `CountWorld`.
    """
    rows = np.asarray(label_rows)
    recalls = np.broadcast_to(np.asarray(recall, dtype=np.float64), rows.shape)
    confused = np.tile(rows, (len(rows), 1)).astype(np.float64) * (1.0 if mistakes is None else mistakes)
    asked = {key: options.pop(key) for key in ("margin", "clear", "limit", "costs") if key in options}
    margin = asked.pop("margin", DECIDING[metric].margin)
    setup = Setup(name, metric, margin, len(rows), **asked)
    seeds = options.pop("seeds", (1,))
    return CountWorld(setup, rows, (chances(recalls, confused),), seeds, **options)


def at_margin(world: CountWorld) -> CountWorld:
    """The world with a margin a hair smaller than the loss of its cheaper method: to choose that one is wrong."""
    loss = float(world.true_means[0] - world.true_means[1])
    return replace(world, setup=replace(world.setup, margin=0.999 * loss))


def zipf(labels: int, rows: int, least: int) -> IntArray:
    """Rows of labels in proportion to 1 / rank, none below ``least``."""
    shares = 1 / np.arange(1, labels + 1)
    counts = np.maximum(least, np.floor(rows * shares / shares.sum())).astype(np.int64)
    counts[0] += rows - counts.sum()
    return np.asarray(counts)
