"""Small line charts: learning curves and reliability diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from adjudge.render.charts.svg import Axis, element, figure, line, linear_axis, polyline, text

WIDTH, HEIGHT = 400, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 14, 42


@dataclass(frozen=True)
class Series:
    """A named line; ``style`` is ``solid``, ``dashed`` or ``faint`` and tells the kind without colour."""

    name: str
    points: tuple[tuple[float, float], ...]
    style: str


def curves(series: Sequence[Series], title: str, x_title: str) -> Markup:
    """Lines over a common horizontal axis that begins at 0."""
    every = [point for one in series for point in one.points]
    xs = linear_axis(0, max(x for x, _ in every), _thousands, 4)
    ys = linear_axis(min(y for _, y in every), max(y for _, y in every), lambda value: f"{value:g}", 4)
    marks = _axes(xs, ys, x_title)
    for one in series:
        points = [(_x(xs, x), _y(ys, y)) for x, y in one.points]
        marks.append(polyline(points, f"line {one.style}"))
        if one.style != "faint":
            marks += [element("circle", cx=x, cy=y, r=2.6, class_=f"bead {one.style}") for x, y in points]
    return figure(WIDTH, HEIGHT, title, *marks)


@dataclass(frozen=True)
class Bins:
    """Reliability by bin of confidence: mean confidence, accuracy and number of rows of the filled bins."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    count: tuple[int, ...]


def reliability_diagram(before: Bins, after: Bins, title: str) -> Markup:
    """Accuracy against confidence, before (hollow, dashed) and after calibration (filled, by rows in size)."""
    axis = Axis(float, 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: f"{value:g}")
    marks = _axes(axis, axis, "confidence")
    marks.append(line(_x(axis, 0), _y(axis, 0), _x(axis, 1), _y(axis, 1), "guide"))
    most = max(after.count, default=1)
    for bins, style in ((before, "dashed"), (after, "solid")):
        points = [(_x(axis, c), _y(axis, a)) for c, a in zip(bins.confidence, bins.accuracy, strict=True)]
        marks.append(polyline(points, f"line {style}"))
        for (x, y), rows in zip(points, bins.count, strict=True):
            radius = 2.6 if style == "dashed" else 2.2 + 4.5 * (rows / most) ** 0.5
            bead = element("circle", element("title", f"{rows} rows"), cx=x, cy=y, r=radius, class_=f"bead {style}")
            marks.append(bead)
    return figure(WIDTH, HEIGHT, title, *marks)


def _axes(xs: Axis, ys: Axis, x_title: str) -> list[Markup]:
    marks: list[Markup] = []
    for tick in xs.ticks:
        marks.append(text(_x(xs, tick), HEIGHT - BOTTOM + 16, xs.write(tick), "middle", "t s"))
    for tick in ys.ticks:
        y = _y(ys, tick)
        marks += [line(LEFT, y, WIDTH - RIGHT, y, "grid"), text(LEFT - 7, y + 4, ys.write(tick), "end", "t s")]
    marks.append(text(WIDTH - RIGHT, HEIGHT - 8, x_title, "end", "t s"))
    return marks


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis(value) * (HEIGHT - TOP - BOTTOM)


def _thousands(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
