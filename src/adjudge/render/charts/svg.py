"""SVG elements as escaped markup, and the axes that the charts share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Writer = Callable[[float], str]


def element(name: str, *children: str, **attributes: object) -> Markup:
    """One element; children and attribute values are escaped unless they are markup already.

    Args:
        name: the element.
        children: text or markup.
        attributes: ``stroke_width`` becomes ``stroke-width``, ``class_`` becomes ``class``; None is left out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(escape(c) for c in children))


def _value(value: object) -> object:
    return number(value) if isinstance(value, float) else value


def number(value: float) -> str:
    """At most two decimals and no trailing zeros: the same bytes on every machine, and short ones."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"


def percent(share: float) -> str:
    """A coordinate as a percentage of the width."""
    return f"{number(100 * share)}%"


def figure(width: int | str, height: int, title: str, *children: str, class_: str = "chart") -> Markup:
    """An SVG with an accessible name.

    Args:
        width: a number draws in a view box that scales; ``"100%"`` keeps text at its size and stretches the rest.
        height: in the same units.
        title: what the chart says, for people who do not see it.
        children: the marks.
        class_: CSS class.
    """
    fluid = isinstance(width, str)
    return element(
        "svg",
        element("title", title),
        *children,
        class_=class_,
        role="img",
        viewBox=None if fluid else f"0 0 {width} {height}",
        width="100%",
        height=height if fluid else None,
        style=None if fluid else f"max-width:{width}px",
    )


def text(x: float | str, y: float, content: str, anchor: str = "start", class_: str = "t") -> Markup:
    """A line of text."""
    return element("text", content, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float | str, y1: float, x2: float | str, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Joined straight lines."""
    return element("polyline", points=" ".join(f"{number(x)},{number(y)}" for x, y in points), class_=class_)


SHAPES = {
    "chosen": "M0-7L7 0L0 7L-7 0Z",
    "reference": "M-5-5H5V5H-5Z",
    "plain": "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0-4.5 0Z",
}
"""A diamond for the choice, a square for the reference, a disc for the rest: told apart without colour."""


def marker(x: float | str, y: float, mark: str, title: str) -> Markup:
    """A point, its meaning in its shape; hovering tells its name."""
    shape = element("path", element("title", title), d=SHAPES[mark], class_=f"m m-{mark}")
    return element("svg", shape, x=x, y=y, overflow="visible", class_="point")


@dataclass(frozen=True)
class Axis:
    """A scale from values to 0..1, with its ticks.

    Attributes:
        forward: value -> monotone coordinate (a logarithm, say).
        low: smallest value shown.
        high: largest value shown.
        ticks: values with a tick.
        write: a tick's text.
    """

    forward: Writer | Callable[[float], float]
    low: float
    high: float
    ticks: tuple[float, ...]
    write: Writer

    def __call__(self, value: float) -> float:
        """The share of the axis at which a value lies, cut to 0..1."""
        low, high = float(self.forward(self.low)), float(self.forward(self.high))
        share = (float(self.forward(value)) - low) / (high - low) if high > low else 0.5
        return min(1.0, max(0.0, share))


def linear_axis(low: float, high: float, write: Writer, count: int = 5) -> Axis:
    """An axis with about ``count`` round ticks that holds both ends."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(step * i, 12) for i in range(first, last + 1))
    return Axis(float, ticks[0], ticks[-1], ticks, write)


def log_axis(low: float, high: float, write: Writer) -> Axis:
    """A logarithmic axis over whole decades; ticks at the decades, or at 1, 2 and 5 where there are few."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    decades = range(first, last + 1)
    every = 1 + (last - first) // 8
    if last - first <= 2:
        ticks = [10.0**d * f for d in decades for f in (1, 2, 5) if 10.0**d * f <= 10.0**last * 1.001]
    else:
        ticks = [10.0**d for d in decades[::every]]
    return Axis(
        math.log10, 10.0**first, 10.0**last, tuple(ticks), lambda value: re.sub(r"\.0+(?!\d)", "", write(value))
    )


SCORE_TICKS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)


def score_axis(low: float, high: float, least: float = 0.08) -> Axis:
    """An axis for scores of 0 to 1 that is stretched towards 1: equal steps are equal factors of the error.

    Between 0.1 and 0.95 a plain axis would press the methods that matter into a corner.

    Args:
        low: smallest score shown.
        high: largest score shown.
        least: smallest distance between two ticks, as a share of the axis.
    """
    top = min(0.9995, high + 0.15 * (1 - high))
    bottom = max(0.0, low - 0.15 * (1 - low))

    def forward(score: float) -> float:
        return -math.log2(1 - min(score, 0.9995))

    whole = Axis(forward, bottom, top, (), number)
    ticks: list[float] = []
    for tick in SCORE_TICKS:
        if bottom <= tick <= top and (not ticks or whole(tick) - whole(ticks[-1]) >= least):
            ticks.append(tick)
    return Axis(forward, bottom, top, tuple(ticks), lambda value: f"{value:g}")


def shortened(label: str, length: int) -> str:
    """A label of at most ``length`` characters."""
    return label if len(label) <= length else label[: length - 1] + "…"
