"""Intervals one below the other: scores with their uncertainty, or differences to the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from adjudge.render.charts.svg import Axis, figure, line, marker, percent, shortened, text

ROW = 46
TOP = 26
INSET = 0.012


@dataclass(frozen=True)
class ForestRow:
    """One interval: its label above it on the left, its number on the right.

    Attributes:
        dots: further values (single seeds), drawn as small ticks.
        mark: ``chosen``, ``reference`` or ``plain``.
    """

    label: str
    value: float
    low: float
    high: float
    number: str
    mark: str
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Guide:
    """A vertical line with its meaning above it."""

    at: float
    text: str


def forest(rows: Sequence[ForestRow], axis: Axis, title: str, guides: Sequence[Guide] = ()) -> Markup:
    """A forest plot whose width follows the page while its text keeps its size.

    Intervals that leave the axis end in an arrow at its edge; their numbers are never cut.
    """
    bottom = TOP + ROW * len(rows)
    marks: list[Markup] = []
    for tick in axis.ticks:
        at = _x(axis, tick)
        marks += [
            line(at, TOP, at, bottom, "grid"),
            text(at, bottom + 18, axis.write(tick), _anchor(axis(tick)), "t s"),
        ]
    for guide in guides:
        at = _x(axis, guide.at)
        marks += [
            line(at, TOP - 6, at, bottom, "guide"),
            text(at, TOP - 11, guide.text, _anchor(axis(guide.at)), "t s"),
        ]
    for i, row in enumerate(rows):
        marks += _row(row, axis, TOP + ROW * i)
    return figure("100%", bottom + 26, title, *marks, class_="chart fluid")


def _row(row: ForestRow, axis: Axis, top: float) -> list[Markup]:
    y = top + 31
    says = f"{row.label}: {row.number}"
    marks = [
        text("0", top + 16, shortened(row.label, 40), class_=f"t l l-{row.mark}"),
        text("100%", top + 16, row.number, "end", "t n"),
    ]
    if row.high > axis.low and row.low < axis.high:
        marks.append(line(_x(axis, row.low), y, _x(axis, row.high), y, f"ci ci-{row.mark}"))
    if row.low < axis.low:
        marks.append(text("0", y + 5, "◂", class_="t arrow"))
    if row.high > axis.high:
        marks.append(text("100%", y + 5, "▸", "end", "t arrow"))
    marks += [line(_x(axis, at), y - 5, _x(axis, at), y + 5, "dot") for at in row.dots if axis.low <= at <= axis.high]
    if axis.low <= row.value <= axis.high:
        marks.append(marker(_x(axis, row.value), y, row.mark, says))
    return marks


def _x(axis: Axis, value: float) -> str:
    return percent(INSET + (1 - 2 * INSET) * axis(value))


def _anchor(share: float) -> str:
    return "start" if share < 0.06 else "end" if share > 0.94 else "middle"
