"""Quality against cost, with the methods that nothing else beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from adjudge.render.charts.svg import Axis, figure, line, marker, polyline, shortened, text

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ParetoPoint:
    """One method: cost above 0, score with its interval, and whether it is on the front.

    Attributes:
        key: short name (its number in the leaderboard) for narrow screens.
    """

    label: str
    key: str
    cost: float
    score: float
    low: float
    high: float
    mark: str
    on_front: bool


@dataclass(frozen=True)
class Frame:
    """Size of the drawing and its margins, in pixels."""

    width: int
    height: int
    left: int = 46
    right: int = 14
    top: int = 16
    bottom: int = 46

    def x(self, share: float) -> float:
        """Horizontal position of a share of the axis."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Vertical position of a share of the axis; 1 is at the top."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def pareto(
    points: Sequence[ParetoPoint], costs: Axis, scores: Axis, titles: tuple[str, str, str], *, narrow: bool = False
) -> Markup:
    """The plot; ``titles`` are the chart's, the cost axis's and the score axis's.

    Args:
        points: the methods.
        costs: horizontal axis.
        scores: vertical axis.
        titles: of the chart, the horizontal and the vertical axis.
        narrow: draw for a phone: points are named by their keys, which the page explains beside the chart.
    """
    frame = Frame(350, 330) if narrow else Frame(960, 440, left=52, right=18)
    marks = _axes(frame, costs, scores, titles)
    front = sorted((p for p in points if p.on_front), key=lambda p: p.cost)
    marks.append(polyline(_steps(front, frame, costs, scores), "front"))
    placed: list[_Box] = [_around(frame.x(costs(p.cost)), frame.y(scores(p.score))) for p in points]
    labels: list[Markup] = []
    for point in points:
        x, y = frame.x(costs(point.cost)), frame.y(scores(point.score))
        marks.append(line(x, frame.y(scores(point.low)), x, frame.y(scores(point.high)), f"ci ci-{point.mark}"))
        marks.append(marker(x, y, point.mark, f"{point.label}: {point.score:.3f} at {costs.write(point.cost)}"))
        content = point.key if narrow else shortened(point.label, 34)
        labels.append(_label(content, x, y, frame, placed, point.mark))
    name = "chart narrow" if narrow else "chart wide"
    return figure(frame.width, frame.height, titles[0], *marks, *labels, class_=name)


def _axes(frame: Frame, costs: Axis, scores: Axis, titles: tuple[str, str, str]) -> list[Markup]:
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    marks: list[Markup] = []
    every = 2 if frame.width < 500 and len(costs.ticks) > 5 else 1
    for i, tick in enumerate(costs.ticks):
        x = frame.x(costs(tick))
        marks.append(line(x, frame.top, x, bottom, "grid"))
        if i % every == 0:
            anchor = "end" if costs(tick) > 0.97 else "middle"
            marks.append(text(x, bottom + 17, costs.write(tick), anchor, "t s"))
    for tick in scores.ticks:
        y = frame.y(scores(tick))
        marks += [line(frame.left, y, right, y, "grid"), text(frame.left - 8, y + 4, scores.write(tick), "end", "t s")]
    marks.append(text(right, bottom + 38, titles[1], "end", "t s"))
    marks.append(text(frame.left - 40, frame.top - 4, titles[2], "start", "t s"))
    return marks


def _steps(front: Sequence[ParetoPoint], frame: Frame, costs: Axis, scores: Axis) -> list[tuple[float, float]]:
    """The front as stairs: a score is to be had from its cost on."""
    corners: list[tuple[float, float]] = []
    for point in front:
        x, y = frame.x(costs(point.cost)), frame.y(scores(point.score))
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    if corners:
        corners.append((float(frame.width - frame.right), corners[-1][1]))
    return corners


def _around(x: float, y: float) -> _Box:
    return (x - 8, y - 8, x + 8, y + 8)


def _label(content: str, x: float, y: float, frame: Frame, placed: list[_Box], mark: str) -> Markup:
    """Write a label where it hides least: right, left, above or below its point."""
    width = 6.9 * len(content) + 4
    options = [
        (x + 11, y + 4, "start", (x + 10, y - 8, x + 10 + width, y + 8)),
        (x - 11, y + 4, "end", (x - 10 - width, y - 8, x - 10, y + 8)),
        (x, y - 13, "middle", (x - width / 2, y - 25, x + width / 2, y - 9)),
        (x, y + 22, "middle", (x - width / 2, y + 9, x + width / 2, y + 25)),
        (x + 11, y - 10, "start", (x + 10, y - 22, x + 10 + width, y - 6)),
        (x - 11, y - 10, "end", (x - 10 - width, y - 22, x - 10, y - 6)),
        (x + 11, y + 19, "start", (x + 10, y + 7, x + 10 + width, y + 23)),
        (x - 11, y + 19, "end", (x - 10 - width, y + 7, x - 10, y + 23)),
    ]
    inside = (float(frame.left), 0.0, float(frame.width), float(frame.height - frame.bottom))

    def hidden(box: _Box) -> float:
        outside = max(0.0, inside[0] - box[0]) + max(0.0, box[2] - inside[2]) + max(0.0, box[3] - inside[3])
        return sum(_overlap(box, other) for other in placed) + 100 * outside

    best = min(options, key=lambda option: hidden(option[3]))
    placed.append(best[3])
    return text(best[0], best[1], content, best[2], f"t halo l-{mark}")


def _overlap(a: _Box, b: _Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0
