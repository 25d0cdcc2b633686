"""The choice: the cheapest method that is shown to be within the margin of the reference, and the sentence for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from adjudge.compare.costs import cost_named, ratio_phrase
from adjudge.compare.results import CompareOptions, Group, PairedTest

METRIC_NAMES = {"macro_f1": "macro-F1", "accuracy": "accuracy"}


def reference_of(groups: Sequence[Group], cost: str) -> Group:
    """The group with the best mean validation macro-F1; test results have no say.

    Where two are equal the cheaper one, then the label, decides. Where a task has no validation rows, only a
    single group can be judged, so it is the reference.
    """

    def order(group: Group) -> tuple[float, float, str]:
        score = group.validation["macro_f1"].mean if "macro_f1" in group.validation else -math.inf
        return (-score, cost_of(group, cost), group.label)

    return min(groups, key=order)


def cost_of(group: Group, cost: str) -> float:
    """The group's cost; infinite where it is not known, so that an unmeasured method is never the cheapest."""
    value = group.costs.get(cost)
    return math.inf if value is None else value


def choose(
    groups: Sequence[Group], reference: Group, tests: Sequence[PairedTest], rows: int, options: CompareOptions
) -> tuple[str | None, str]:
    """The label of the choice (None where the test set cannot tell) and the sentence that says why.

    The candidates are the reference and every method whose one-sided lower 95% bound of the paired test difference
    (method minus reference) lies above ``-margin``; the cheapest candidate is chosen. Where that is the reference
    although a cheaper method is neither shown to be within the margin nor shown to be beyond it, there is no choice:
    the sentence says so, with the test rows that would tell.

    Args:
        groups: all groups.
        reference: from `reference_of`.
        tests: the paired tests of ``options.metric`` against the reference, one for every other group.
        rows: number of test rows.
        options: margin, cost and metric.
    """
    by_label = {group.label: group for group in groups}
    price = cost_of(reference, options.cost)
    cheaper = [test for test in tests if cost_of(by_label[test.label], options.cost) < price]
    within = [test for test in cheaper if test.verdict == "within"]
    if len(groups) == 1:
        return reference.label, f"Only {reference.label} was run, so there is nothing to choose from."
    if within:
        best = min(within, key=lambda test: (cost_of(by_label[test.label], options.cost), test.label))
        sentence = _chosen(by_label[best.label], reference, best, options)
        still = [t for t in cheaper if _undecided_below(t, by_label[best.label], by_label, options)]
        return best.label, sentence + _cheaper_still(still)
    undecided = [test for test in cheaper if test.verdict == "open"]
    if undecided:
        return None, _cannot_tell(undecided, reference, by_label, rows, options)
    return reference.label, _reference_chosen(reference, len(cheaper), options)


def _undecided_below(test: PairedTest, chosen: Group, by_label: Mapping[str, Group], options: CompareOptions) -> bool:
    return test.verdict == "open" and cost_of(by_label[test.label], options.cost) < cost_of(chosen, options.cost)


def _chosen(group: Group, reference: Group, test: PairedTest, options: CompareOptions) -> str:
    metric = METRIC_NAMES[options.metric]
    phrase = cost_named(options.cost).phrase
    ratio = ratio_phrase(cost_of(group, options.cost), cost_of(reference, options.cost), phrase)
    if test.lower_bound > 0:
        claim = f"its test {metric} is above that of {reference.label}, the best on validation"
    else:
        claim = f"its test {metric} is within {points(options.margin)} of {reference.label}, the best on validation"
    return f"Choose {group.label}: {claim} ({difference_text(test)}), {ratio}."


def _cheaper_still(undecided: Sequence[PairedTest]) -> str:
    if not undecided:
        return ""
    names = " and ".join(test.label for test in undecided[:2])
    more = f" and {len(undecided) - 2} more" if len(undecided) > 2 else ""
    verb = "is" if len(undecided) == 1 else "are"
    return f" Cheaper still {verb} {names}{more}, of which this test set cannot tell."


def _cannot_tell(
    undecided: Sequence[PairedTest],
    reference: Group,
    by_label: Mapping[str, Group],
    rows: int,
    options: CompareOptions,
) -> str:
    nearest = max(undecided, key=lambda test: (test.lower_bound, test.label))
    phrase = cost_named(options.cost).phrase
    group = by_label[nearest.label]
    ratio = ratio_phrase(cost_of(group, options.cost), cost_of(reference, options.cost), phrase)
    others = len(undecided) - 1
    also = f" Nor can it tell for {others} other cheaper method{'s' if others > 1 else ''}." if others else ""
    need = (
        f"about {round_rows(nearest.rows_needed):,} rows would"
        if nearest.rows_needed
        else "no number of rows can be named that would"
    )
    return (
        f"This test set of {rows:,} rows cannot tell whether {nearest.label} is within "
        f"{points(options.margin)} of {reference.label}, the best on validation, {ratio}: the difference in "
        f"{METRIC_NAMES[options.metric]} is {difference_text(nearest)}; {need}.{also} "
        f"Until then, stay with {reference.label}."
    )


def _reference_chosen(reference: Group, n_cheaper: int, options: CompareOptions) -> str:
    phrase = cost_named(options.cost).phrase
    if math.isinf(cost_of(reference, options.cost)):
        return f"Choose {reference.label}: it is the best on validation; its {phrase} was not measured."
    if n_cheaper == 0:
        return f"Choose {reference.label}: it is the best on validation, and no method has a lower {phrase}."
    which = "the one method" if n_cheaper == 1 else f"each of the {n_cheaper} methods"
    return (
        f"Choose {reference.label}: it is the best on validation, and {which} with a lower {phrase} "
        f"is shown to lose more than {points(options.margin)} of test {METRIC_NAMES[options.metric]}."
    )


def points(value: float) -> str:
    """A share as percentage points: ``1 point``, ``0.5 points``."""
    number = f"{100 * value:g}"
    return f"{number} point" if number == "1" else f"{number} points"


def signed_points(value: float) -> str:
    """A difference in points with its sign and a true minus: ``−0.3``, ``+1.2``, ``0.0``."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text.replace("-", "−")


def difference_text(test: PairedTest) -> str:
    """``−0.3 points, with 95% confidence at least −0.9``."""
    return f"{signed_points(test.difference)} points, with 95% confidence at least {signed_points(test.lower_bound)}"


def round_rows(rows: int) -> int:
    """Two significant digits, rounded up: a planned size is no exact number."""
    if rows < 100:
        return rows
    unit = int(10 ** (len(str(rows)) - 2))
    return -(-rows // unit) * unit
