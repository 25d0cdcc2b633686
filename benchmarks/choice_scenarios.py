"""The worlds by name: rare classes, seeds, many candidates, many labels, other metrics, other kinds of task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from itertools import product
from typing import Any

import numpy as np
from choice_methods import Change, at_margin, counted, differing, false_alarms, lower_recall, no_answer, zipf
from choice_worlds import CountWorld, Floats, LossWorld, Setup, World

from adjudge.compare.deciding import DECIDING, DecidingMetric


def rare(
    name: str, rows: int, rarest: int, difference: float, change: Change | None = None, **options: Any
) -> CountWorld:
    """Three labels, one of them rare, and one cheaper method that has lost something of the rare one."""
    common = (rows - rarest) // 2
    world = counted(f"rare/{name}", (rows - rarest - common, common, rarest), (0.97, 0.97, 0.9), **options)
    return differing(world, change or lower_recall([2]), [difference])


def nearly_unseen(rarest: int) -> CountWorld:
    """A class whose rows show no loss in 6% of the test sets, and a margin that is a hair smaller than that loss."""
    world = counted(f"rare/nearly-unseen-{rarest}", (500, 500 - rarest, rarest), (0.97, 0.97, 0.999), shared=0.99)
    (reference,) = world.methods
    worse = lower_recall([2])(reference, 1 - 0.06 ** (1 / rarest))
    return at_margin(replace(world, methods=(reference, worse), seeds=(1, 1)))


def many_alarms(rarest: int, *, drawn: bool) -> CountWorld:
    """Two labels, and a cheaper method that answers the rare one for others one and a half times as often as it is."""
    name = f"rare/alarms-{rarest}-of-1000-{'drawn' if drawn else 'fixed'}"
    world = counted(name, (1000 - rarest, rarest), (0.9995, 0.9), random=drawn)
    (reference,) = world.methods
    return at_margin(replace(world, methods=(reference, false_alarms(1)(reference, 0.0015 * rarest)), seeds=(1, 1)))


def sometimes_absent(rows: float) -> CountWorld:
    """Ten labels in 500 rows, one with so few that test sets lack it; the cheaper method never answers it."""
    label_rows = [55_000] * 9 + [round(1000 * rows)]
    world = counted(f"labels/absent-{rows:g}-of-500", label_rows, 0.9, random=True, rows=500)
    (reference,) = world.methods
    worse = lower_recall(range(9))(reference, 0.03)
    worse[:, 0] += worse[:, 9] * (np.arange(10) > 0)
    worse[0, 1] += worse[0, 9]
    worse[:, 9] = 0.0
    return replace(world, methods=(false_alarms(9)(reference, 0.004), worse), seeds=(1, 1))


def rare_classes() -> list[World]:
    """A class of few test rows: what it hides is not shown by a bootstrap of the rows."""
    worlds: list[World] = [
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
    worlds += [nearly_unseen(rarest) for rarest in (2, 3, 5, 10, 50)]
    worlds += [many_alarms(rarest, drawn=drawn) for rarest, drawn in product((5, 15, 50, 200), (False, True))]
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
    ]


def many_labels() -> list[World]:
    """2 to 150 labels, balanced and not."""
    return [
        sometimes_absent(0.5),
        sometimes_absent(2),
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
    ]


def limits() -> list[World]:
    """What the comparison cannot know: these are shown, and judge nothing."""
    fails = counted(
        "limits/one-seed-in-ten-fails", (1000, 1000), 0.9, metric="accuracy", seeds=(3, 3), seed_sd=0.003,
        collapse=(0.1, 0.2), limit="seeds are normal",
    )  # fmt: skip
    single: dict[str, Any] = {"limit": "one row of a label says nothing of its own spread"}
    return [
        differing(fails, lower_recall(), [-0.0002]),
        differing(counted("limits/50-labels-of-1", [1] * 50, 0.8, **single), lower_recall(), [-0.0105]),
        differing(
            counted("limits/30-of-40-labels-of-1", [60] * 10 + [1] * 30, 0.8, **single), lower_recall(), [-0.0105]
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
    "rare/2-of-2000", "rare/nearly-unseen-5", "rare/alarms-50-of-1000-drawn", "labels/absent-0.5-of-500",
    "rows/one-loss-in-100", "many/12-together", "seeds/3-2000-sd-1.5", "mcc/balanced-1000",
    "log-loss/500-confident-mistakes", "rare/equal-50-of-2000",
)  # fmt: skip
"""A handful that takes seconds."""


def simulated_worlds() -> list[World]:
    """Every world, by theme."""
    parts = (rare_classes, over_seeds, rows_and_candidates, many_labels, other_metrics, other_tasks, limits)
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
