"""The fair comparison: runs on the same test rows, tested against the best of them on validation, and a choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from scipy.stats import norm

from adjudge.compare.choice import choose, reference_of
from adjudge.compare.costs import cost_named
from adjudge.compare.fairness import LoadedRun, load_fair
from adjudge.compare.groups import dominated, make_group, members_by_label, stacked
from adjudge.compare.results import (
    CompareOptions,
    Comparison,
    Constant,
    ConstantTest,
    Group,
    LeftOut,
    PairedTest,
    Spread,
)
from adjudge.core.errors import ConfigError, did_you_mean
from adjudge.core.runs import Run
from adjudge.evaluate.intervals import accuracy_needed, proportion_differs
from adjudge.evaluate.paired import Difference, holm, mcnemar, minimum_detectable_difference, paired_difference

__all__ = [
    "CompareOptions",
    "Comparison",
    "Constant",
    "ConstantTest",
    "Group",
    "LeftOut",
    "PairedTest",
    "Spread",
    "compare_runs",
]

Metric = Literal["macro_f1", "accuracy"]
TESTED: tuple[Metric, ...] = ("macro_f1", "accuracy")
POWER = 0.8
MOST_TIMES = 1000
"""More than this many times the test rows at hand is no number to plan with."""

Members = Mapping[str, Sequence[LoadedRun]]


def compare_runs(runs: Sequence[Run], options: CompareOptions = CompareOptions()) -> Comparison:  # noqa: B008 - frozen
    """Compare runs that answered the same test rows.

    Runs of one method, model and config are seeds of one group; a group's score is the mean over its seeds. The
    reference is the group with the best mean validation macro-F1. Every other group is tested against it on test,
    for macro-F1 and for accuracy, by a paired bootstrap over rows and seeds; p-values are adjusted by Holm over all
    comparisons of a metric. For the choice see `choice.choose`.

    Every number comes from the prediction files, so old runs can be compared with new ones.

    Args:
        runs: run folders; those that did not finish are listed with their error and otherwise left out.
        options: margin, cost, metric, bootstrap and published constants.

    Raises:
        DataError: no complete run, or runs that differ in test rows, texts, gold labels or label set.
        ConfigError: an option out of range or an unknown cost or metric.
    """
    _check(options)
    loaded, left_out = load_fair(runs)
    options = replace(options, constants=_known_constants(options, loaded))
    members = members_by_label(loaded)
    groups = [make_group(label, items, options) for label, items in members.items()]
    groups = [replace(g, on_front=not dominated(g, groups, options.cost, options.metric)) for g in groups]
    reference = reference_of(groups, options.cost)
    groups.sort(key=lambda g: (-g.validation["macro_f1"].mean if g.validation else math.inf, g.label))
    tests = [test for metric in TESTED for test in _tests(groups, reference, members, metric, options)]
    deciding = [test for test in tests if test.metric == options.metric]
    rows = len(loaded[0].test.gold)
    choice, sentence = choose(groups, reference, deciding, rows, options)
    return Comparison(
        task=str(loaded[0].record["task"].get("name", "task")),
        labels=loaded[0].labels,
        test_rows=rows,
        options=options,
        groups=tuple(groups),
        left_out=tuple(left_out),
        reference=reference.label,
        differences=tuple(tests),
        constants=tuple(_constants(groups, members, options)),
        choice=choice,
        sentence=sentence,
        notes=tuple(_notes(groups, loaded, left_out)),
    )


def _check(options: CompareOptions) -> None:
    cost_named(options.cost)
    problems: list[str] = []
    if not 0 <= options.margin < 1:
        problems.append(f"margin must lie in 0 to 1 (0.01 is one point), got {options.margin}")
    if options.resamples < 100:
        problems.append(f"resamples must be at least 100 for an interval to mean something, got {options.resamples}")
    if options.metric not in TESTED:
        problems.append(f"metric {options.metric!r} decides no choice; {did_you_mean(options.metric, TESTED)}")
    for constant in options.constants:
        if not 0 <= constant.accuracy <= 1:
            problems.append(f"constant {constant.name!r}: accuracy must lie in 0 to 1, got {constant.accuracy}")
    if problems:
        raise ConfigError(problems)


def _known_constants(options: CompareOptions, loaded: Sequence[LoadedRun]) -> tuple[Constant, ...]:
    """The constants asked for and those that the runs' recipes name, each name once."""
    recorded = [Constant(**value) for item in loaded for value in item.record.get("constants", [])]
    return tuple({constant.name: constant for constant in (*recorded, *options.constants)}.values())


def _tests(
    groups: Sequence[Group], reference: Group, members: Members, metric: Metric, options: CompareOptions
) -> list[PairedTest]:
    others = [group.label for group in groups if group is not reference]
    theirs = members[reference.label]
    found = {label: _difference(members[label], theirs, metric, options) for label in others}
    adjusted = holm([found[label].p_value for label in others]) if others else []
    return [
        _test(label, metric, found[label], p, (members[label], theirs), options)
        for label, p in zip(others, adjusted, strict=True)
    ]


def _difference(
    ours: Sequence[LoadedRun], theirs: Sequence[LoadedRun], metric: Metric, options: CompareOptions
) -> Difference:
    gold, classes = ours[0].test.gold, ours[0].test.classes(ours[0].labels)
    first, second = stacked(ours), stacked(theirs)
    found = paired_difference(
        gold, first, second, classes, metric=metric, resamples=options.resamples, seed=options.seed
    )
    gains = (first == gold).mean(axis=0) - (second == gold).mean(axis=0)
    return _with_room(found, len(gold), never_worse=bool((gains >= 0).all()), never_better=bool((gains <= 0).all()))


def _with_room(found: Difference, rows: int, *, never_worse: bool, never_better: bool) -> Difference:
    """The difference with an interval that allows for what no row showed.

    Where a method is worse on no row, it is worse on no resample either, and the bootstrap would take ten rows for
    proof. But N rows without a loss leave room for losses on a share of 1 - alpha^(1/N) of all rows (Clopper and
    Pearson 1934 at zero events; about 3/N), so a bound lies at least that far from the difference.
    """
    one_sided, two_sided = (1 - alpha ** (1 / rows) for alpha in (0.05, 0.025))
    if never_worse:
        found = replace(
            found,
            low=min(found.low, found.difference - two_sided),
            lower_bound=min(found.lower_bound, found.difference - one_sided),
        )
    return replace(found, high=max(found.high, found.difference + two_sided)) if never_better else found


def _test(
    label: str,
    metric: Metric,
    found: Difference,
    adjusted: float,
    pair: tuple[Sequence[LoadedRun], Sequence[LoadedRun]],
    options: CompareOptions,
) -> PairedTest:
    ours, theirs = pair
    error = (found.high - found.low) / (2 * float(norm.ppf(0.975)))
    detectable = error * float(norm.ppf(0.975) + norm.ppf(POWER)) or None
    mcnemar_p: float | None = None
    if metric == "accuracy" and len(ours) == len(theirs) == 1:
        correct = [side[0].test.predicted == side[0].test.gold for side in pair]
        mcnemar_p = mcnemar(correct[0], correct[1]).p_value
        detectable = minimum_detectable_difference(correct[0], correct[1], power=POWER)
    verdict: Literal["within", "beyond", "open"] = "open"
    if found.lower_bound > -options.margin:
        verdict = "within"
    elif found.high < -options.margin:
        verdict = "beyond"
    return PairedTest(
        label=label,
        metric=metric,
        difference=found.difference,
        low=found.low,
        high=found.high,
        lower_bound=found.lower_bound,
        p_value=found.p_value,
        p_adjusted=adjusted,
        mcnemar_p=mcnemar_p,
        detectable=detectable,
        rows_needed=_rows(found.difference + options.margin, error, len(ours[0].test.gold))
        if verdict == "open"
        else None,
        verdict=verdict,
    )


def _rows(distance: float, error: float, rows: int) -> int | None:
    """Test rows at which a loss this far from the margin would be settled, one-sided at 5% with 80% power.

    The standard error of the paired difference shrinks with the root of the rows, so
    ``N (error (z_0.95 + z_0.8) / distance)^2``; what seeds add to it is taken to shrink alike.

    Returns:
        None where the distance is so small that the number would mean nothing.
    """
    reach = error * float(norm.ppf(0.95) + norm.ppf(POWER))
    if reach == 0 or abs(distance) * math.sqrt(MOST_TIMES) < reach:
        return None
    return math.ceil(rows * (reach / distance) ** 2)


def _constants(groups: Sequence[Group], members: Members, options: CompareOptions) -> list[ConstantTest]:
    tests: list[ConstantTest] = []
    for constant in options.constants:
        for group in groups:
            gold = members[group.label][0].test.gold
            correct = int((stacked(members[group.label]) == gold).sum()) // len(group.runs)
            needed = accuracy_needed(len(gold), constant.accuracy, alpha=0.025)  # of each side
            p_value = proportion_differs(correct, len(gold), constant.accuracy)
            shown = needed if needed <= 1 else None
            tests.append(ConstantTest(constant, group.label, correct, len(gold), p_value, shown))
    return tests


def _notes(groups: Sequence[Group], loaded: Sequence[LoadedRun], left_out: Sequence[LeftOut]) -> list[str]:
    notes: list[str] = []
    if any(not group.validation for group in groups):
        notes.append("Some runs have no validation rows; such a method is never the reference while another has them.")
    validation = {frozenset(item.validation.row_ids) for item in loaded if item.validation is not None}
    if len(validation) > 1:
        notes.append("The runs were validated on different rows, so the reference rests on unequal measurements.")
    unlabelled = loaded[0].test.unlabelled
    if unlabelled:
        notes.append(f"{unlabelled:,} test rows have no gold label and are left out everywhere.")
    unanswered = [f"{item.run.name} ({item.test.unparsed:,})" for item in loaded if item.test.unparsed]
    if unanswered:
        notes.append(f"Replies that could not be read count as wrong: {', '.join(unanswered)}.")
    if loaded[0].test.sets is not None:
        notes.append("Texts may have several labels: accuracy is the share of texts whose whole set is right.")
    if any(len(group.runs) in {2, 3} for group in groups):
        notes.append("With two or three seeds the bootstrap understates the spread between seeds.")
    if left_out:
        notes.append(f"{len(left_out)} of the runs given could not be compared; they are listed with the reason.")
    return notes
