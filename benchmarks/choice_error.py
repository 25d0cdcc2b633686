"""How often the choice is wrong, whether intervals cover, and what caution costs: worlds with a known truth.

    python benchmarks/choice_error.py --data FOLDER

In every world test sets and runs are drawn again and again, the code of `adjudge compare` chooses, and its choice is
held against the truth:

- wrong: the chosen method lies the margin or more below the reference (aim: at most 5%, in every world);
- too high: some bound that is to hold for all cheaper methods together lies above the truth (aim: at most 5%);
- covered: two-sided 95% intervals of differences, and of a method's own macro-F1 (aim: 95 ± 1.5%; tiny samples more);
- cannot tell: no choice is made, which is the price of caution where the truth is clear.

Worlds named `limits/...` break an assumption on purpose; they are shown and judge nothing. With --data, predictions of
real classifiers on many rows are resampled too. Prints a table, appends it to results/choice_error.jsonl and draws
results/choice_error.png.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from choice_figure import draw
from choice_real import real_worlds
from choice_scenarios import SHORT, matching, simulated_worlds
from choice_trials import Trial, run_trial, summary
from choice_worlds import World
from records import RESULTS, append, machine, table

ALPHA = 0.05
LEAST_COVERAGE = 0.935
AT_ONCE = 20
"""Repeats that a process makes before it takes the next part."""


def measure(worlds: Sequence[World], repeats: int, draws: int, jobs: int) -> list[dict[str, Any]]:
    """What came of every world, in order; the number of processes changes the time alone."""
    starts = range(0, repeats, AT_ONCE)
    parts = [(world, range(first, min(first + AT_ONCE, repeats))) for world in worlds for first in starts]
    summaries = []
    with ProcessPoolExecutor(jobs) as pool:
        done = pool.map(partial(_part, draws=draws), *zip(*parts, strict=True))
        for world in worlds:
            trials = [trial for _ in starts for trial in next(done)]
            summaries.append(summary(world, trials))
            print(f"{world.setup.name}: wrong {_text(summaries[-1]['wrong'])}", flush=True)
    return summaries


def _part(world: World, numbers: range, draws: int) -> list[Trial]:
    return [run_trial(world, number, draws) for number in numbers]


def failures(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """What misses an aim by more than simulation error, one line each; worlds beyond the assumptions aside."""
    missed = []
    for one in summaries:
        if one["limit"]:
            continue
        for what in ("wrong", "bound_fails", "wrongly_beyond"):
            if one[what]["low"] > ALPHA:
                missed.append(f"{one['world']}: {what} {_text(one[what])}")
        for what in ("differences_covered", "own_covered"):
            if one[what] is not None and one[what]["high"] < LEAST_COVERAGE:
                missed.append(f"{one['world']}: {what} {_text(one[what])}")
    return missed


def _text(share: dict[str, float] | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share['share']:.1f} ({100 * share['low']:.1f}–{100 * share['high']:.1f})"


def rows_of(summaries: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """The table, shares in percent."""
    keys = ("wrong", "bound_fails", "differences_covered", "own_covered")
    return [
        [
            one["world"],
            one["metric"],
            one["rows"],
            one["rarest"],
            " ".join(f"{100 * difference:+.2f}" for difference in one["differences"][:2]),
            *(_text(one[key]) for key in keys),
            *(f"{100 * one['outcomes'][what]:.0f}" for what in ("cheaper", "reference", "cannot tell")),
            one["clear"] or "",
        ]
        for one in summaries
    ]


COLUMNS = (
    "world", "metric", "rows", "rarest", "true difference", "wrong, %", "bound too high, %", "differences covered, %",
    "macro-F1 covered, %", "cheaper", "reference", "cannot tell", "clear",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default="*", metavar="GLOB", help="only worlds of such names (default: all)")
    parser.add_argument("--repeats", type=int, default=1000, help="comparisons in a world (default %(default)s)")
    parser.add_argument("--draws", type=int, default=1000, help="of a comparison (default %(default)s)")
    parser.add_argument("--short", action="store_true", help="a handful of small worlds, 200 comparisons each")
    parser.add_argument("--data", type=Path, help="folder of train.txt, val.txt and test.txt: lines of text;label")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--jobs", type=int, default=cores, help="processes (default: cores, %(default)s)")
    parser.add_argument("--no-record", action="store_true", help="print only; nothing is written to results/")
    options = parser.parse_args()
    worlds = [*simulated_worlds(), *(real_worlds(options.data) if options.data else [])]
    worlds = [world for world in worlds if world.setup.name in SHORT] if options.short else worlds
    repeats = min(options.repeats, 200) if options.short else options.repeats
    before = machine(options.jobs)
    summaries = measure(matching(worlds, options.worlds), repeats, options.draws, options.jobs)
    print(table(COLUMNS, rows_of(summaries)))
    missed = failures(summaries)
    print("\n".join(["", *(f"- missed: {one}" for one in missed)] if missed else ["", "- every aim is reached"]))
    if not options.no_record:
        draw(summaries, RESULTS / "choice_error.png")
        record = {"machine": before, "draws": options.draws, "worlds": summaries, "missed": missed}
        print(f"appended to {append('choice_error', record)}")


if __name__ == "__main__":
    main()
