"""The charts of a comparison: leaderboard, differences to the reference, quality against cost."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from adjudge.compare.costs import COSTS, cost_named
from adjudge.compare.deciding import DECIDING, DecidingMetric
from adjudge.compare.results import Comparison, MethodGroup
from adjudge.render.charts.forest import ForestRow, Guide, forest
from adjudge.render.charts.pareto import ParetoPoint, pareto
from adjudge.render.charts.svg import linear_axis, log_axis, score_axis

WIDEST = 0.15
"""Methods shown to lose more than this leave the chart with an arrow: they must not squeeze the rest."""


def mark_of(comparison: Comparison, label: str) -> str:
    """``chosen``, ``reference`` or ``plain``."""
    if label == comparison.choice:
        return "chosen"
    return "reference" if label == comparison.reference else "plain"


def leaderboard(comparison: Comparison, metric: str) -> Markup:
    """Test scores with their 95% intervals, best validation first."""
    groups = comparison.groups
    constants = comparison.options.constants if metric == "accuracy" else ()
    values = [v for g in groups for v in (*g.intervals[metric], g.test[metric].mean)] + [c.accuracy for c in constants]
    rows = [
        ForestRow(
            label=group.label,
            value=group.test[metric].mean,
            low=group.intervals[metric][0],
            high=group.intervals[metric][1],
            number=f"{group.test[metric].mean:.3f}",
            mark=mark_of(comparison, group.label),
            dots=group.test[metric].values if len(group.runs) > 1 else (),
        )
        for group in groups
    ]
    guides = [Guide(constant.accuracy, constant.name) for constant in constants[:1]]
    title = f"Test {DECIDING[metric].title} of every method with its 95% interval"
    return forest(rows, score_axis(min(values), max(values)), title, guides)


def differences(comparison: Comparison, metric: str) -> Markup | None:
    """Paired differences to the reference; None where there is nothing to compare."""
    tests = [test for test in comparison.differences if test.metric == metric]
    if not tests:
        return None
    margin, deciding = comparison.options.margin, DECIDING[metric]
    widest = max(WIDEST, *(max(-t.low, t.high) for t in tests if t.verdict != "beyond"), 2 * margin)
    low = max(min([*(t.low for t in tests), -2 * margin, -0.02]), -widest)
    high = min(max([*(t.high for t in tests), 0.01]), widest)
    rows = [
        ForestRow(
            label=test.label,
            value=test.difference,
            low=test.low,
            high=test.high,
            number=deciding.signed(test.difference),
            mark=mark_of(comparison, test.label),
            dots=(test.lower_bound,),
        )
        for test in tests
    ]
    axis = linear_axis(low, high, deciding.signed)
    what = f"test {deciding.title} to {comparison.reference}, in {deciding.unit[1]}"
    title = f"Difference in {what}, with 95% intervals"
    guides = [Guide(0.0, "")] + ([Guide(-margin, f"margin −{deciding.amount(margin)}")] if margin else [])
    return forest(rows, axis, title, guides)


def quality_against_cost(comparison: Comparison) -> tuple[Markup, Markup] | None:
    """The Pareto plot for wide and for narrow screens; None where fewer than two methods have a cost above 0."""
    cost, metric = comparison.options.cost, quality_metric(comparison)
    placed = [(i, g, c) for i, g in enumerate(comparison.groups, 1) if (c := g.costs.get(cost))]
    if len(placed) < 2:
        return None
    shown = [_point(comparison, group, i, price, metric) for i, group, price in placed]
    costs = log_axis(min(p.cost for p in shown), max(p.cost for p in shown), cost_named(cost).write)
    scores = score_axis(min(p.low for p in shown), max(p.high for p in shown), least=0.07)
    title = f"Test {DECIDING[metric].title} against {COSTS[cost].title}; the line joins the methods nothing else beats"
    titles = (title, f"{COSTS[cost].title} (logarithmic)", f"test {DECIDING[metric].title}")
    return pareto(shown, costs, scores, titles), pareto(shown, costs, scores, titles, narrow=True)


def _point(comparison: Comparison, group: MethodGroup, place: int, price: float, metric: str) -> ParetoPoint:
    return ParetoPoint(
        label=group.label,
        key=str(place),
        cost=price,
        score=group.test[metric].mean,
        low=group.intervals[metric][0],
        high=group.intervals[metric][1],
        mark=mark_of(comparison, group.label),
        on_front=group.on_front,
    )


def quality_metric(comparison: Comparison) -> DecidingMetric:
    """The metric of the Pareto plot: the one that decides, where it is a share; else macro-F1."""
    return "accuracy" if comparison.options.metric == "accuracy" else "macro_f1"


def unplaced(comparison: Comparison) -> Sequence[str]:
    """Methods that the Pareto plot cannot show: their cost is 0 or was not measured."""
    return [group.label for group in comparison.groups if not group.costs.get(comparison.options.cost)]
