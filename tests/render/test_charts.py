from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from adjudge.render.charts.forest import ForestRow, Guide, forest
from adjudge.render.charts.lines import Bins, Series, curves, reliability_diagram
from adjudge.render.charts.pareto import ParetoPoint, pareto
from adjudge.render.charts.svg import element, linear_axis, log_axis, number, score_axis


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def test_elements_escape_children_and_attributes() -> None:
    assert element("text", '<b>"&', class_='"><script>') == (
        '<text class="&#34;&gt;&lt;script&gt;">&lt;b&gt;&#34;&amp;</text>'
    )


def test_numbers_are_short_and_finite() -> None:
    assert [number(x) for x in (1.0, 0.126, -2.5, float("nan"))] == ["1", "0.13", "-2.5", "0"]


def test_linear_axes_hold_both_ends_with_round_ticks() -> None:
    axis = linear_axis(-0.034, 0.011, str)
    assert axis.low <= -0.034
    assert axis.high >= 0.011
    assert axis.ticks == (-0.04, -0.03, -0.02, -0.01, 0.0, 0.01, 0.02)
    assert axis(axis.low) == 0
    assert axis(axis.high) == 1
    assert 0 <= linear_axis(0.5, 0.5, str)(0.5) <= 1


def test_log_axes_put_equal_factors_at_equal_distances() -> None:
    axis = log_axis(0.002, 21.0, str)
    assert (axis.low, axis.high) == (pytest.approx(0.001), pytest.approx(100.0))
    assert axis(1.0) - axis(0.1) == pytest.approx(axis(10.0) - axis(1.0))


def test_score_axes_put_equal_factors_of_the_error_at_equal_distances() -> None:
    axis = score_axis(0.4, 0.95)
    assert axis(0.8) - axis(0.6) == pytest.approx(axis(0.9) - axis(0.8))
    assert all(b - a >= 0.08 for a, b in zip(map(axis, axis.ticks), map(axis, axis.ticks[1:]), strict=False))
    assert score_axis(1.0, 1.0)(1.0) <= 1
    assert score_axis(0.0, 0.0)(0.0) >= 0


def test_a_forest_is_named_marks_the_choice_by_shape_and_arrows_what_leaves_the_axis() -> None:
    rows = [
        ForestRow("first", 0.0, -0.01, 0.01, "0.0", "chosen"),
        ForestRow("second", -0.5, -0.6, -0.4, "−50.0", "plain"),
    ]
    svg = forest(rows, linear_axis(-0.1, 0.05, str), "differences", [Guide(0.0, "zero")])
    tree = parsed(svg)
    assert tree.attrib["role"] == "img"
    assert tree[0].text == "differences"
    assert svg.count("◂") == 1
    assert "▸" not in svg
    assert svg.count("m-chosen") == 1
    assert "m-plain" not in svg


def test_pareto_labels_do_not_cover_each_other_and_narrow_ones_are_keys() -> None:
    points = [ParetoPoint(f"method {i}", str(i), 1.0 + i / 50, 0.9, 0.89, 0.91, "plain", i == 0) for i in range(4)]
    axes = (log_axis(0.1, 10, str), score_axis(0.5, 0.95))
    wide = parsed(pareto(points, *axes, ("t", "x", "y")))
    labels = [e for e in wide.iter("text") if (e.text or "").startswith("method")]
    places = {(e.attrib["x"], e.attrib["y"]) for e in labels}
    assert len(places) == 4
    narrow = pareto(points, *axes, ("t", "x", "y"), narrow=True)
    assert [e.text for e in parsed(narrow).iter("text") if "halo" in e.attrib["class"]] == ["0", "1", "2", "3"]


def test_lines_are_told_apart_without_colour() -> None:
    series = [Series("a", ((1.0, 0.5), (2000.0, 0.7)), "solid"), Series("b", ((1.0, 0.4), (2000.0, 0.6)), "dashed")]
    svg = curves(series, "curve", "rows")
    assert [e.attrib["class"] for e in parsed(svg).iter("polyline")] == ["line solid", "line dashed"]
    assert "2k" in svg


def test_a_reliability_diagram_tells_rows_per_bin() -> None:
    bins = Bins((0.4, 0.9), (0.5, 0.95), (3, 40))
    svg = reliability_diagram(bins, bins, "calibration")
    assert svg.count("40 rows") == 2
    parsed(svg)
