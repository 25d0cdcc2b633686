"""The choice: the cheapest method that is shown to be within the margin of the reference, and the sentence for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from adjudge.compare.costs import cost_named, ratio_phrase
from adjudge.compare.results import CompareOptions, MethodGroup, PairedTest


def reference_of(groups: Sequence[MethodGroup], options: CompareOptions) -> MethodGroup:
    """The group with the best mean validation score by the metric of the choice; test results have no say.

    Where two are equal the cheaper one, then the label, decides. Where a task has no validation rows, only a
    single group can be judged, so it is the reference.
    """

    def order(group: MethodGroup) -> tuple[float, float, str]:
        return (-validation_score(group, options), cost_of(group, options.cost), group.label)

    return min(groups, key=order)


def validation_score(group: MethodGroup, options: CompareOptions) -> float:
    """The mean of the metric of the choice on validation, higher is better; minus infinity where there is none."""
    spread = group.validation.get(options.metric)
    return -math.inf if spread is None else options.deciding.sign * spread.mean


def cost_of(group: MethodGroup, cost: str) -> float:
    """The group's cost; infinite where it is not known, so that an unmeasured method is never the cheapest."""
    value = group.costs.get(cost)
    return math.inf if value is None else value


def cheaper_than(reference: MethodGroup, groups: Sequence[MethodGroup], cost: str) -> list[str]:
    """Labels of the groups that cost less than the reference: one of them may be chosen in its place."""
    return [group.label for group in groups if cost_of(group, cost) < cost_of(reference, cost)]


def hopeless(reference: MethodGroup, groups: Sequence[MethodGroup], options: CompareOptions) -> frozenset[str]:
    """Labels of the constant answers that validation puts more than the margin below the reference: no candidates.

    Validation rows say so, and a bound that has to hold for fewer candidates is a tighter one.
    """
    least = validation_score(reference, options) - options.margin
    return frozenset(
        group.label
        for group in groups
        if group.constant and group is not reference and validation_score(group, options) < least
    )


def choose(
    groups: Sequence[MethodGroup],
    reference: MethodGroup,
    tests: Sequence[PairedTest],
    rows: int,
    options: CompareOptions,
    beaten: Collection[str] = (),
) -> tuple[str | None, str]:
    """The label of the choice (None where the test set cannot tell) and the sentence that says why.

    The candidates are the reference and every cheaper method whose lower bound of the paired test difference (method
    minus reference) lies above ``-margin``, bounds that hold for all cheaper methods together with 95% confidence; the
    cheapest candidate is chosen. Where that is the reference although a cheaper method is neither shown to be within
    the margin nor shown to be beyond it, there is no choice: the sentence says so, with the test rows that would tell.

    Args:
        groups: all groups.
        reference: from `reference_of`.
        tests: the paired tests of ``options.metric`` against the reference, one for every other group.
        rows: number of test rows.
        options: margin, cost and metric.
        beaten: constant answers that are worse than something else, on validation or as shown on test: never chosen.
    """
    by_label = {group.label: group for group in groups}
    if len(groups) == 1:
        return reference.label, f"Only {reference.label} was run, so there is nothing to choose from."
    names = cheaper_than(reference, groups, options.cost)
    cheaper = [test for test in tests if test.label in names and test.label not in beaten]
    within = [test for test in cheaper if test.verdict == "within"]
    if within:
        best = min(within, key=lambda test: (cost_of(by_label[test.label], options.cost), test.label))
        sentence = _chosen(by_label[best.label], reference, best, options)
        still = [t for t in cheaper if _undecided_below(t, by_label[best.label], by_label, options)]
        return best.label, sentence + _cheaper_still(still)
    undecided = [test for test in cheaper if test.verdict == "open"]
    if undecided:
        return None, _cannot_tell(undecided, reference, by_label, rows, options)
    floors = [label for label in names if label in beaten]
    return reference.label, _reference_chosen(reference, len(cheaper), floors, options)


def better_on_test(tests: Sequence[PairedTest], chosen: str, options: CompareOptions) -> str:
    """A sentence that names the methods shown to be better than the reference on test, the chosen one aside.

    Test rows choose nothing, so it is to be confirmed on rows that nobody has seen; empty where there is none.
    """
    better = [t for t in tests if t.p_adjusted <= 0.05 and t.difference > 0 and t.label != chosen]
    if not better:
        return ""
    best = max(better, key=lambda test: (test.difference, test.label))
    also = f" (and {len(better) - 1} more)" if len(better) > 1 else ""
    gain = f"{options.deciding.signed(best.difference)} {options.deciding.unit[1]}"
    return (
        f" On test {best.label}{also} is shown to be better than the reference by {gain} "
        f"(p {p_phrase(best.p_adjusted)}): confirm it on fresh rows, since test rows must not choose."
    )


def p_phrase(value: float) -> str:
    """``= 0.012`` or ``< 0.001``."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _undecided_below(
    test: PairedTest, chosen: MethodGroup, by_label: Mapping[str, MethodGroup], options: CompareOptions
) -> bool:
    return test.verdict == "open" and cost_of(by_label[test.label], options.cost) < cost_of(chosen, options.cost)


def _chosen(group: MethodGroup, reference: MethodGroup, test: PairedTest, options: CompareOptions) -> str:
    deciding = options.deciding
    phrase = cost_named(options.cost).phrase
    ratio = ratio_phrase(cost_of(group, options.cost), cost_of(reference, options.cost), phrase)
    whose = f"its test {deciding.title}" if group.of_method else f"this run's test {deciding.title}"
    theirs = reference.label if reference.of_method else f"this run of {reference.label}"
    if test.lower_bound > 0:
        claim = f"{whose} is better than that of {theirs}, the best on validation"
    else:
        claim = f"{whose} is within {deciding.amount(options.margin)} of {theirs}, the best on validation"
    return f"Choose {group.label}: {claim} ({difference_text(test, options)}), {ratio}.{_of_runs(group, reference)}"


def _of_runs(group: MethodGroup, reference: MethodGroup) -> str:
    """What one seed can show."""
    single = [one.label for one in (group, reference) if not one.of_method]
    if not single:
        return ""
    return (
        f" {' and '.join(single)} {'has' if len(single) == 1 else 'have'} one seed, so this is said of "
        f"{'that run' if len(single) == 1 else 'these runs'}; three seeds or more speak of a method."
    )


def _cheaper_still(undecided: Sequence[PairedTest]) -> str:
    if not undecided:
        return ""
    names = " and ".join(test.label for test in undecided[:2])
    more = f" and {len(undecided) - 2} more" if len(undecided) > 2 else ""
    verb = "is" if len(undecided) == 1 else "are"
    return f" Cheaper still {verb} {names}{more}, of which this test set cannot tell."


def _cannot_tell(
    undecided: Sequence[PairedTest],
    reference: MethodGroup,
    by_label: Mapping[str, MethodGroup],
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
        f"{options.deciding.amount(options.margin)} of {reference.label}, the best on validation, {ratio}: the "
        f"difference in {options.deciding.title} is {difference_text(nearest, options)}; {need}.{also} "
        f"Until then, stay with {reference.label}."
    )


def _reference_chosen(reference: MethodGroup, n_cheaper: int, floors: Sequence[str], options: CompareOptions) -> str:
    phrase = cost_named(options.cost).phrase
    best = f"Choose {reference.label}: it is the best on validation"
    alike = f"{' and '.join(floors)}, cheaper, gives every text one answer and is worse than something else"
    if math.isinf(cost_of(reference, options.cost)):
        return f"{best}; its {phrase} was not measured."
    if n_cheaper == 0:
        return f"{best}; {alike}." if floors else f"{best}, and no method has a lower {phrase}."
    which = "the one method" if n_cheaper == 1 else f"each of the {n_cheaper} methods"
    if floors:
        which = f"each other method ({n_cheaper})"
    lost = f"is shown to lose more than {options.deciding.amount(options.margin)} of test {options.deciding.title}"
    return f"{best}, and {which} with a lower {phrase} {lost}{f'; {alike}' if floors else ''}."


def difference_text(test: PairedTest, options: CompareOptions) -> str:
    """``−0.3 points, with 95% confidence at least −0.9``."""
    deciding = options.deciding
    return (
        f"{deciding.signed(test.difference)} {deciding.unit[1]}, "
        f"with 95% confidence at least {deciding.signed(test.lower_bound)}"
    )


def round_rows(rows: int) -> int:
    """Two significant digits, rounded up: a planned size is no exact number."""
    if rows < 100:
        return rows
    unit = int(10 ** (len(str(rows)) - 2))
    return -(-rows // unit) * unit
