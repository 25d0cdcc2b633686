"""The fair comparison: runs on the same test rows, tested against the best of them on validation, and a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adjudge.compare.choice import better_on_test, cheaper_than, choose, hopeless, reference_of, validation_score
from adjudge.compare.costs import cost_named
from adjudge.compare.deciding import DECIDING, DecidingMetric, cost_matrix, costs_of_labels, row_scores
from adjudge.compare.fairness import LoadedRun, load_fair
from adjudge.compare.groups import dominated, make_group, members_by_label, stacked
from adjudge.compare.notes import notes_of
from adjudge.compare.results import (
    CompareOptions,
    Comparison,
    Constant,
    ConstantTest,
    LeftOut,
    MethodGroup,
    PairedTest,
    Spread,
)
from adjudge.compare.shift import shift_sentence
from adjudge.compare.testing import Members, beaten, tests_of, values_by_label
from adjudge.core.errors import ConfigError, did_you_mean
from adjudge.core.runs import Run
from adjudge.core.types import FloatArray
from adjudge.evaluate.intervals import accuracy_needed, proportion_differs

__all__ = [
    "CompareOptions",
    "Comparison",
    "Constant",
    "ConstantTest",
    "LeftOut",
    "MethodGroup",
    "PairedTest",
    "Spread",
    "compare_runs",
]

TESTED: tuple[DecidingMetric, ...] = ("macro_f1", "accuracy")
"""What is tested whatever decides."""


def compare_runs(runs: Sequence[Run], options: CompareOptions = CompareOptions()) -> Comparison:  # noqa: B008 - frozen
    """Compare runs that answered the same test rows.

    Runs of one method, model and config are seeds of one group; a group's score is the mean over its seeds. The
    reference is the group with the best mean validation score by ``options.metric``. Every other group is tested
    against it on test, for macro-F1, for accuracy and for that metric, over draws of the rows that leave room for what
    so few rows hide, and over seeds (`adjudge.evaluate.population`). For the choice see `choice.choose`; what differs
    between validation and test, and what is shown to be better than the reference, is said with it.

    Every number comes from the run folders' files, so old runs can be compared with new ones.

    Args:
        runs: run folders; those that did not finish are listed with their error and otherwise left out.
        options: margin, cost, metric, draws and published constants.

    Raises:
        DataError: no complete run, or runs that differ in test rows, texts, gold labels or label set.
        ConfigError: an option out of range or an unknown cost or metric.
    """
    _check(options)
    loaded, left_out = load_fair(runs)
    options = replace(options, constants=_known_constants(options, loaded))
    costs = _mistake_costs(options, loaded)
    members = members_by_label(loaded)
    groups = [make_group(label, items, options, costs) for label, items in members.items()]
    groups = [replace(g, on_front=not dominated(g, groups, options)) for g in groups]
    reference = reference_of(groups, options)
    groups.sort(key=lambda g: (-validation_score(g, options), g.label))
    floors = hopeless(reference, groups, options)
    family = [label for label in cheaper_than(reference, groups, options.cost) if label not in floors]
    tests, beaten_on_test = _tests(groups, reference, family, members, costs, options)
    deciding = [test for test in tests if test.metric == options.metric]
    rows = len(loaded[0].test.gold)
    choice, sentence = choose(groups, reference, deciding, rows, options, floors | beaten_on_test)
    better = better_on_test(deciding, choice or reference.label, options)
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
        sentence=shift_sentence(reference, members, options) + sentence + better,
        notes=tuple(notes_of(groups, reference, deciding, loaded, left_out, options)),
    )


def _tests(
    groups: Sequence[MethodGroup],
    reference: MethodGroup,
    family: Sequence[str],
    members: Members,
    costs: FloatArray | None,
    options: CompareOptions,
) -> tuple[list[PairedTest], frozenset[str]]:
    """The tests of every metric in the order of the groups, and the constant answers that something is better than."""
    tests: list[PairedTest] = []
    floors: frozenset[str] = frozenset()
    for metric in dict.fromkeys((*TESTED, options.metric)):
        deciding = metric == options.metric
        drawn = values_by_label(members, metric, costs, resamples=options.resamples, seed=options.seed)
        values = {group.label: drawn[group.label] for group in groups}
        own = options if deciding else replace(options, margin=DECIDING[metric].margin)
        tests += tests_of(values, reference.label, family if deciding else (), metric, members, own)
        if deciding:
            floors = beaten([group.label for group in groups if group.constant], values)
    return tests, floors


def _mistake_costs(options: CompareOptions, loaded: Sequence[LoadedRun]) -> FloatArray | None:
    """Costs as given, else as the task of the first run has them; None where nobody says."""
    task: Mapping[str, Any] = (loaded[0].record.get("config") or {}).get("task") or {}
    costs = options.mistake_costs or costs_of_labels(task.get("labels"))
    matrix = cost_matrix(costs, loaded[0].labels) if costs else None
    if options.metric == "cost":
        row_scores("cost", matrix)(loaded[0].test)
    return matrix if loaded[0].test.sets is None else None


def _check(options: CompareOptions) -> None:
    cost_named(options.cost)
    problems: list[str] = []
    if not 0 <= options.margin < 1:
        problems.append(f"margin must lie in 0 to 1 (0.01 is one point of macro-F1), got {options.margin}")
    if options.resamples < 100:
        problems.append(f"resamples must be at least 100 for an interval to mean something, got {options.resamples}")
    if options.metric not in DECIDING:
        problems.append(f"metric {options.metric!r} decides no choice; {did_you_mean(options.metric, DECIDING)}")
    for constant in options.constants:
        if not 0 <= constant.accuracy <= 1:
            problems.append(f"constant {constant.name!r}: accuracy must lie in 0 to 1, got {constant.accuracy}")
    if problems:
        raise ConfigError(problems)


def _known_constants(options: CompareOptions, loaded: Sequence[LoadedRun]) -> tuple[Constant, ...]:
    """The constants asked for and those that the runs' recipes name, each name once."""
    recorded = [Constant(**value) for item in loaded for value in item.record.get("constants", [])]
    return tuple({constant.name: constant for constant in (*recorded, *options.constants)}.values())


def _constants(groups: Sequence[MethodGroup], members: Members, options: CompareOptions) -> list[ConstantTest]:
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
