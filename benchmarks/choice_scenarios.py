"""The worlds by name: rare classes, seeds, many candidates, many labels, other metrics, other kinds of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from itertools import product
from typing import Any

import numpy as np
from choice_worlds import CountWorld, Floats, LossWorld, Setup, World, value_of
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
    margin: float | None = None,
    clear: str | None = None,
    limit: str = "",
    mistakes: Floats | None = None,
    **options: Any,
) -> CountWorld:
    """A world of labels that exclude one another, with its reference alone."""
    rows = np.asarray(label_rows)
    recalls = np.broadcast_to(np.asarray(recall, dtype=np.float64), rows.shape)
    costs = options.pop("costs", None)
    confused = np.tile(rows, (len(rows), 1)).astype(np.float64) * (1.0 if mistakes is None else mistakes)
    setup = Setup(name, metric, DECIDING[metric].margin if margin is None else margin, len(rows), clear, limit, costs)
    return CountWorld(setup, rows, (chances(recalls, confused),), **{"seeds": (1,), **options})


def rare(
    name: str, rows: int, rarest: int, difference: float, change: Change | None = None, **options: Any
) -> CountWorld:
    """Three labels, one of them rare, and one cheaper method that has lost something of the rare one."""
    common = (rows - rarest) // 2
    world = counted(f"rare/{name}", (rows - rarest - common, common, rarest), (0.97, 0.97, 0.9), **options)
    return differing(world, change or lower_recall([2]), [difference])


def zipf(labels: int, rows: int, least: int) -> IntArray:
    """Rows of labels in proportion to 1 / rank, none below ``least``."""
    shares = 1 / np.arange(1, labels + 1)
    counts = np.maximum(least, np.floor(rows * shares / shares.sum())).astype(np.int64)
    counts[0] += rows - counts.sum()
    return counts


def rare_classes() -> list[World]:
    """A class of few test rows: what it hides is not shown by a bootstrap of the rows."""
    worlds = [
        rare("2-of-2000", 2000, 2, -0.094),
        rare("3-of-2000", 2000, 3, -0.07),
        rare("3-of-1000", 1000, 3, -0.05),
        rare("5-of-1000", 1000, 5, -0.031),
        rare("1-of-500", 500, 1, -0.1),
        rare("10-of-2000", 2000, 10, -0.0105),
        rare("20-of-2000", 2000, 20, -0.0105),
        rare("50-of-2000", 2000, 50, -0.0105),
        rare("10-of-2000-beyond", 2000, 10, -0.03),
        rare("50-of-20000", 20_000, 50, -0.0105),
        rare("2-of-2000-alarms", 2000, 2, -0.06, false_alarms(2)),
        rare("5-of-1000-alarms", 1000, 5, -0.031, false_alarms(2)),
        rare("10-of-2000-alarms", 2000, 10, -0.03, false_alarms(2)),
        rare("3-of-1000-drawn", 1000, 3, -0.05, random=True),
        rare("10-of-2000-drawn", 2000, 10, -0.03, random=True),
        rare("5-of-1000-independent", 1000, 5, -0.031, shared=0.0),
        rare("10-of-300-independent", 300, 10, -0.0105, shared=0.0),
        rare("3-of-100", 100, 3, -0.0105),
        rare("equal-5-of-1000", 1000, 5, 0.0, clear="cheaper", shared=0.95),
        rare("equal-50-of-2000", 2000, 50, 0.0, clear="cheaper", shared=0.95),
        rare("equal-200-of-20000", 20_000, 200, 0.0, clear="cheaper", shared=0.95),
        rare("far-10-of-2000", 2000, 10, -0.2, clear="reference"),
    ]
    five = [395, 395, 395, 400, 400, 3, 3, 3, 3, 3]
    several = counted("rare/five-of-3-all", five, 0.93)
    one = replace(several, setup=replace(several.setup, name="rare/five-of-3-one"))
    return [
        *worlds,
        differing(several, lower_recall(range(5, 10)), [-0.04]),
        differing(one, lower_recall([9]), [-0.04]),
    ]


def rows_and_candidates() -> list[World]:
    """Accuracy: numbers of rows, correlations and numbers of cheaper methods."""

    def simple(name: str, rows: int, differences: Sequence[float], recall: float = 0.9, **options: Any) -> World:
        world = counted(name, (rows // 2, rows - rows // 2), recall, **{"metric": "accuracy", **options})
        return differing(world, lower_recall(), differences)

    near = [
        simple(f"rows/{rows}-{kind}", rows, [-0.0102], shared=shared)
        for rows, (kind, shared) in product((100, 300, 1000, 5000, 20_000), (("together", 0.95), ("apart", 0.0)))
        if rows < 20_000 or kind == "together"
    ]
    many = [
        simple(f"many/{count}-at-1.18", 2000, [-0.0118] * count, shared=shared)
        for count, shared in ((6, 0.7), (12, 0.7))
    ]
    return [
        *near,
        simple("rows/one-loss-in-100", 100, [-0.047], recall=0.999, margin=0.0465, shared=0.99),
        simple("rows/well-within-2000", 2000, [-0.002], clear="cheaper", shared=0.95),
        simple("rows/well-within-20000", 20_000, [-0.002], clear="cheaper", shared=0.95),
        simple("rows/equal-300", 300, [0.0], clear="cheaper", shared=0.95),
        simple("rows/equal-1000", 1000, [0.0], clear="cheaper", shared=0.95),
        simple("rows/far-1000", 1000, [-0.06], clear="reference"),
        *many,
        simple("many/12-independent", 2000, [-0.0105] * 12, shared=0.0),
        simple("many/12-together", 2000, [-0.0105] * 12, shared=0.95),
        simple("many/one-equal-of-6", 2000, [-0.03, -0.02, 0.0, -0.02, -0.03, -0.05], clear="cheaper", shared=0.95),
        differing(
            counted("many/12-macro-f1", (890, 890, 200, 20), (0.95, 0.95, 0.9, 0.9)),
            lower_recall(),
            [-0.0105] * 12,
        ),
    ]


def over_seeds() -> list[World]:
    """Runs that differ by their seed; claims of a run with one, of a method with several."""

    def seeded(
        name: str, rows: int, seeds: Sequence[int], sd: float, difference: float = -0.0102, **options: Any
    ) -> World:
        world = counted(
            f"seeds/{name}",
            (rows // 2, rows - rows // 2),
            0.9,
            **{"metric": "accuracy", "seeds": tuple(seeds), "seed_sd": sd, **options},
        )
        return differing(world, lower_recall(), [difference])

    one = [seeded(f"one-{rows}-sd-0.7", rows, (1, 1), 0.007) for rows in (2000, 20_000)]
    several = [
        seeded(f"{count}-{rows}-sd-{100 * sd:g}", rows, (count, count), sd)
        for count, rows, sd in (
            (2, 2000, 0.007),
            (2, 20_000, 0.015),
            (3, 2000, 0.003),
            (3, 2000, 0.015),
            (3, 20_000, 0.007),
            (5, 20_000, 0.007),
            (5, 2000, 0.015),
        )
    ]
    return [
        *one,
        *several,
        seeded("3-and-1-20000-sd-0.7", 20_000, (3, 1), 0.007),
        seeded("1-and-5-20000-sd-0.7", 20_000, (1, 5), 0.007),
        seeded("equal-3-2000-sd-0.3", 2000, (3, 3), 0.003, 0.0, clear="cheaper", shared=0.9),
        seeded("equal-5-20000-sd-0.3", 20_000, (5, 5), 0.003, 0.0, clear="cheaper", shared=0.9),
        seeded("far-3-2000-sd-0.7", 2000, (3, 3), 0.007, -0.06, clear="reference"),
        differing(
            counted("seeds/3-macro-f1-rare-10", (995, 995, 10), (0.95, 0.95, 0.9), seeds=(3, 3), seed_sd=0.007),
            lower_recall([2]),
            [-0.03],
        ),
        differing(
            counted(
                "seeds/3-of-6-methods-20000", (10_000, 10_000), 0.9, metric="accuracy", seeds=(3,) * 7, seed_sd=0.005
            ),
            lower_recall(),
            [-0.0105] * 6,
        ),
        seeded(
            "3-one-in-ten-collapses",
            2000,
            (3, 3),
            0.003,
            -0.0002,
            collapse=(0.1, 0.2),
            limit="seeds are normal: here one in ten fails",
        ),
    ]


def many_labels() -> list[World]:
    """2 to 150 labels, balanced and not."""
    return [
        differing(counted("labels/77-of-4", [4] * 77, 0.85), lower_recall(), [-0.0105]),
        differing(counted("labels/77-of-4-beyond", [4] * 77, 0.85), lower_recall(), [-0.04]),
        differing(counted("labels/77-of-40", [40] * 77, 0.85), lower_recall(), [-0.0105]),
        differing(counted("labels/20-zipf-2000", zipf(20, 2000, 2), 0.85), lower_recall(), [-0.0105]),
        differing(
            counted("labels/20-zipf-2000-drawn", zipf(20, 2000, 2), 0.85, random=True), lower_recall(), [-0.0105]
        ),
        differing(counted("labels/20-zipf-2000-tail", zipf(20, 2000, 2), 0.85), lower_recall(range(12, 20)), [-0.03]),
        differing(counted("labels/150-zipf-5000", zipf(150, 5000, 3), 0.8), lower_recall(), [-0.0105]),
        differing(
            counted("labels/150-of-20-equal", [20] * 150, 0.8, clear="cheaper", shared=0.95), lower_recall(), [0.0]
        ),
        differing(counted("labels/40-of-10-apart", [10] * 40, 0.7, shared=0.2), lower_recall(), [-0.0105]),
        differing(
            counted("labels/50-of-1", [1] * 50, 0.8, limit="one row says nothing of its own spread"),
            lower_recall(),
            [-0.0105],
        ),
        differing(
            counted(
                "labels/30-single-of-40", [60] * 10 + [1] * 30, 0.8, limit="one row says nothing of its own spread"
            ),
            lower_recall(),
            [-0.0105],
        ),
    ]


def other_metrics() -> list[World]:
    """MCC, log loss, costs of mistakes, and replies that cannot be read."""
    loss = [
        ("log-loss/500", 500, ((3.0, 2.0, 0.0, -8.0), (2.75, 2.0, 0.0, -8.0)), None),
        ("log-loss/5000", 5000, ((3.0, 2.0, 0.0, -8.0), (2.75, 2.0, 0.0, -8.0)), None),
        ("log-loss/5000-equal", 5000, ((3.0, 2.0, 0.0, -8.0), (3.0, 2.0, 0.0, -8.0)), "cheaper"),
        ("log-loss/500-confident-mistakes", 500, ((4.0, 1.0, 0.0, -8.0), (4.0, 1.0, 0.0025, -12.0)), None),
        ("log-loss/2000-confident-mistakes", 2000, ((4.0, 1.0, 0.0, -8.0), (4.0, 1.0, 0.002, -12.0)), None),
    ]
    costs = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [20.0, 20.0, 0.0]])
    common: dict[str, Any] = {"metric": "mcc"}
    return [
        differing(counted("mcc/balanced-1000", (500, 500), 0.9, **common), lower_recall(), [-0.0105]),
        differing(counted("mcc/rare-5-of-1000", (995, 5), (0.995, 0.9), **common), lower_recall([1]), [-0.1]),
        differing(counted("mcc/rare-5-of-1000-alarms", (995, 5), (0.9995, 0.9), **common), false_alarms(1), [-0.1]),
        differing(counted("mcc/rare-20-of-2000", (1980, 20), (0.995, 0.9), **common), lower_recall([1]), [-0.03]),
        differing(counted("mcc/10-zipf-2000", zipf(10, 2000, 5), 0.85, **common), lower_recall(), [-0.0105]),
        differing(
            counted("cost/rare-5-of-1000", (500, 495, 5), (0.97, 0.97, 0.9), metric="cost", costs=costs),
            lower_recall([2]),
            [-0.03],
        ),
        differing(
            counted("cost/balanced-1000", (400, 400, 200), (0.95, 0.95, 0.95), metric="cost", costs=costs),
            lower_recall([2]),
            [-0.02],
        ),
        differing(counted("replies/unread-2000", (900, 900, 200), (0.93, 0.93, 0.9)), no_answer, [-0.0105]),
        *(LossWorld(Setup(name, "log_loss", 0.02, 2, clear), rows, methods) for name, rows, methods, clear in loss),
    ]


def other_tasks() -> list[World]:
    """Texts with several labels, and labels in a tree."""
    several = [
        multi_label("multi-label/5-rare-1-percent", 1000, (0.4, 0.3, 0.2, 0.1, 0.01), "macro_f1", -0.03),
        multi_label("multi-label/5-rare-1-percent-sets", 1000, (0.4, 0.3, 0.2, 0.1, 0.01), "accuracy", -0.0105),
        multi_label("multi-label/4-common", 2000, (0.4, 0.3, 0.3, 0.2), "macro_f1", -0.0105),
    ]
    branch = np.arange(20) // 5
    siblings = np.where(branch[:, None] == branch, 8.0, 0.5)
    tree = [
        differing(counted(f"tree/4-by-5-{rows}", zipf(20, rows, 3), 0.8, mistakes=siblings), lower_recall(), [-0.0105])
        for rows in (800, 4000)
    ]
    return [*several, *tree]


def multi_label(name: str, rows: int, shares: Sequence[float], metric: DecidingMetric, difference: float) -> World:
    """Independent labels; the cheaper method misses more of all of them. Sets of labels are drawn, so counts vary."""
    sets = np.array(list(product((False, True), repeat=len(shares))))
    of_set = np.prod(np.where(sets, shares, 1 - np.asarray(shares)), axis=1)

    def table(recall: float) -> Floats:
        alarms = 0.02 * np.asarray(shares)
        given = np.where(sets[:, None], recall, alarms)
        return np.column_stack([np.prod(np.where(sets[None], given, 1 - given), axis=2), np.zeros(len(sets))])

    world = CountWorld(
        Setup(name, metric, DECIDING[metric].margin, len(shares)),
        np.rint(of_set * 1e9).astype(np.int64),
        (table(0.9),),
        seeds=(1,),
        sets=sets,
        random=True,
        rows=rows,
    )
    return differing(world, lambda _, size: table(0.9 * (1 - size)), [difference])


SHORT = (
    "rare/2-of-2000", "rare/5-of-1000-alarms", "rows/300-together", "rows/one-loss-in-100", "many/12-together",
    "seeds/3-2000-sd-1.5", "mcc/rare-5-of-1000", "rare/equal-50-of-2000",
)  # fmt: skip
"""A handful that takes seconds."""


def simulated_worlds() -> list[World]:
    """Every world, by theme."""
    parts = (rare_classes, over_seeds, rows_and_candidates, many_labels, other_metrics, other_tasks)
    return [world for part in parts for world in part()]


def matching(worlds: Sequence[World], pattern: str) -> list[World]:
    """Those of the worlds whose name a pattern fits.

    Raises:
        SystemExit: there is none.
    """
    fitting = [world for world in worlds if fnmatch(world.setup.name, pattern)]
    if not fitting:
        names = ", ".join(world.setup.name for world in worlds)
        raise SystemExit(f"--worlds {pattern}: no world has such a name; there are {names}")
    return fitting
