"""The picture of the choice's error rates: a line a world, three panels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from choice_trials import OUTCOMES

COLOURS = {"cheaper": "#20639b", "reference": "#9fb8c9", "cannot tell": "#e8c27a"}
RED, GREY = "#b4321f", "#777777"


def draw(summaries: Sequence[dict[str, Any]], path: Path) -> None:
    """Wrong choices against the line of 5%, coverage against 95 ± 1.5%, and what was said.

    Args:
        summaries: from `choice_trials.summary`.
        path: of a PNG or SVG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (wrong, covered, said) = pyplot.subplots(
        1, 3, figsize=(13, 1.4 + 0.19 * len(summaries)), sharey=True, width_ratios=(4, 4, 3)
    )
    places = range(len(summaries))
    _shares(wrong, summaries, (("bound_fails", "bound too high", "D", "#9fb8c9"), ("wrong", "wrong choice", "o", RED)))
    wrong.axvline(5, color=GREY, linewidth=1)
    wrong.set(
        xlabel="% of comparisons (line: 5)",
        xlim=(-0.5, max(15.0, 105 * max(one["bound_fails"]["share"] for one in summaries))),
    )
    _shares(
        covered, summaries,
        (("own_covered", "own macro-F1", "D", "#c98a2b"), ("differences_covered", "differences", "o", "#20639b")),
    )  # fmt: skip
    covered.axvspan(93.5, 96.5, color="#dddddd", linewidth=0)
    covered.set(xlabel="% of 95% intervals that cover (band: 95 ± 1.5)", xlim=(None, 100.5))
    start = [0.0] * len(summaries)
    for what in OUTCOMES:
        shares = [100 * one["outcomes"][what] for one in summaries]
        said.barh(list(places), shares, left=start, color=COLOURS[what], label=what, height=0.7)
        start = [left + share for left, share in zip(start, shares, strict=True)]
    said.set(xlabel="% of comparisons that choose", xlim=(0, 100))
    names = [f"{one['world']}{' *' if one['limit'] else ''}{_clear(one['clear'])}" for one in summaries]
    wrong.set_yticks(list(places), names, fontsize=7)
    wrong.set_ylim(len(summaries) - 0.4, -0.6)
    for panel in (wrong, covered, said):
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8, frameon=False)
        panel.grid(axis="y", color="#eeeeee")
        panel.set_axisbelow(True)
    figure.supxlabel(
        "* breaks an assumption on purpose.  = a cheaper method is equal or close.  « it is far worse.", fontsize=8
    )
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _clear(clear: str | None) -> str:
    return {"cheaper": "  =", "reference": "  «"}.get(clear or "", "")


def _shares(panel: Any, summaries: Sequence[dict[str, Any]], series: Sequence[tuple[str, str, str, str]]) -> None:
    for step, (key, label, marker, colour) in enumerate(series):
        known = [(place, one[key]) for place, one in enumerate(summaries) if one[key] is not None]
        at = [place + 0.15 - 0.3 * step for place, _ in known]
        shares = [100 * one["share"] for _, one in known]
        sides = [[max(0.0, 100 * (one["share"] - one["low"])) for _, one in known],
                 [max(0.0, 100 * (one["high"] - one["share"])) for _, one in known]]  # fmt: skip
        panel.errorbar(shares, at, xerr=sides, fmt=marker, color=colour, markersize=3.5, linewidth=0.9, label=label)
