"""Reading runs side by side, and refusing the ones that cannot be compared fairly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from adjudge.compare.results import LeftOut
from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_json
from adjudge.core.problem import Problem, problem_of
from adjudge.core.runs import EvaluatedSplit, Run
from adjudge.evaluate.arrays import Arrays, read_arrays, with_shared_sets

SHOWN = 5
"""How many row ids an error message shows."""
_WITHOUT_INFLUENCE = {"task": {"description"}, "data": {"accept"}}
"""Parts of a config that a run was started or is judged by, but that shape nothing in it."""


@dataclass(frozen=True)
class LoadedRun:
    """A complete run: its record and its prediction tables.

    Attributes:
        labels: ``[C]`` the labels, in the first run's order.
        test_table: prediction table of test; the same rows in the same order for all runs.
        test: its rows with a gold label, as arrays.
        validation: the same of validation, in the run's own row order; None where the task has no such rows.
    """

    run: Run
    record: dict[str, Any]
    labels: tuple[str, ...]
    test_table: pl.DataFrame
    test: Arrays
    validation: Arrays | None


def load_fair(runs: Sequence[Run]) -> tuple[list[LoadedRun], list[LeftOut]]:
    """Read runs, set aside those that did not finish, and bring the rest to one order of rows and labels.

    Returns:
        The complete runs, and the others with the reason why each is left out. None is dropped silently.

    Raises:
        DataError: no complete run, or runs that differ in test rows, texts, gold labels or label set; the message
            holds every difference to the first run.
    """
    complete: list[_Complete] = []
    left_out: list[LeftOut] = []
    for run in runs:
        found = _read(run)
        if isinstance(found, _Complete):
            complete.append(found)
        else:
            left_out.append(found)
    if not complete:
        reasons = [f"{item.run}: {item.reason}" for item in left_out] or ["no runs were given"]
        raise DataError(["there is no complete run to compare; finish one with `adjudge run`", *reasons])
    first = complete[0]
    problems = [problem for other in complete[1:] for problem in _differences(first, other)]
    if problems:
        raise DataError([*problems, "compare runs of one task and one split only"])
    kept, repeats = _without_repeats(complete)
    loaded = [_aligned(item, first) for item in kept]
    shared = with_shared_sets([item.test for item in loaded])
    return [replace(item, test=test) for item, test in zip(loaded, shared, strict=True)], left_out + repeats


@dataclass(frozen=True)
class _Complete:
    run: Run
    record: dict[str, Any]
    labels: tuple[str, ...]
    test: pl.DataFrame

    @property
    def problem(self) -> Problem:
        """What kind of answer was asked for."""
        return problem_of(self.record["task"])


def _read(run: Run) -> _Complete | LeftOut:
    record = run.record()
    if record["status"] != "complete":
        return _left_out(run, record, record.get("error") or f"is {record['status']}")
    try:
        test = run.predictions("test")
    except DataError:
        return _left_out(run, record, "has no test predictions")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{run.path}/predictions/test.parquet: cannot be read ({error})") from error
    return _Complete(run, record, tuple(record["task"]["labels"]), test)


def _differences(first: _Complete, other: _Complete) -> list[str]:
    pair = f"{first.run.name} and {other.run.name}"
    problems: list[str] = []
    if first.problem != other.problem:
        problems.append(
            f"{pair} answer different problems: {_described(first.problem)} and {_described(other.problem)}"
        )
    if set(first.labels) != set(other.labels):
        only_first = sorted(set(first.labels) - set(other.labels))
        only_other = sorted(set(other.labels) - set(first.labels))
        problems.append(
            f"{pair} have different labels: only in the first {only_first or 'none'}, "
            f"only in the second {only_other or 'none'}"
        )
    ours, theirs = set(first.test["row_id"]), set(other.test["row_id"])
    if ours != theirs:
        problems.append(
            f"{pair} have different test rows ({len(ours)} and {len(theirs)}, {len(ours & theirs)} shared): "
            f"{_some(ours - theirs)} only in the first, {_some(theirs - ours)} only in the second"
        )
        return problems
    both = first.test.select("row_id", "gold", "text_hash").join(
        other.test.select("row_id", "gold", "text_hash"), on="row_id", maintain_order="left"
    )
    moved = both.filter(pl.col("text_hash") != pl.col("text_hash_right"))
    if len(moved):
        problems.append(f"{pair} have different texts under the same row id: {_some(moved['row_id'].to_list())}")
    changed = both.filter(pl.col("gold").ne_missing(pl.col("gold_right")))
    if len(changed):
        row, gold, theirs_gold = changed.select("row_id", "gold", "gold_right").row(0)
        problems.append(
            f"{pair} have different gold labels: {_some(changed['row_id'].to_list())}; "
            f"row {row} is {gold!r} in the first and {theirs_gold!r} in the second"
        )
    return problems


def _described(problem: Problem) -> str:
    return problem.kind if problem.single else f"{problem.kind} (separator {problem.separator!r})"


def _some(row_ids: set[str] | list[str]) -> str:
    ordered = sorted(row_ids)
    if not ordered:
        return "none"
    dots = ", …" if len(ordered) > SHOWN else ""
    rows = "row" if len(ordered) == 1 else "rows"
    return f"{len(ordered)} {rows} ({', '.join(ordered[:SHOWN])}{dots})"


def _aligned(item: _Complete, first: _Complete) -> LoadedRun:
    test = first.test.select("row_id").join(item.test, on="row_id", how="left", maintain_order="left")
    try:
        validation: Arrays | None = read_arrays(item.run.predictions("validation"), first.labels, first.problem)
    except DataError as error:
        if (item.run.path / "predictions" / "validation.parquet").is_file():
            raise _at(item.run, "validation", error) from error
        validation = None
    try:
        arrays = read_arrays(test, first.labels, first.problem)
    except DataError as error:
        raise _at(item.run, "test", error) from error
    if not len(arrays.gold):
        raise DataError(f"{item.run.path}: none of the {len(test)} test rows has a gold label to compare with")
    known = validation if validation is not None and len(validation.gold) else None
    return LoadedRun(item.run, item.record, first.labels, test, arrays, known)


def _at(run: Run, split: EvaluatedSplit, error: DataError) -> DataError:
    return DataError([f"{run.path}, {split}: {problem}" for problem in error.problems])


def _without_repeats(complete: Sequence[_Complete]) -> tuple[list[_Complete], list[LeftOut]]:
    """Keep one run per config and seed, the last finished: one seed counted twice would shrink the spread."""
    newest: dict[tuple[str, Any], _Complete] = {}
    for item in complete:
        kept = newest.get(_identity(item))
        if kept is None or str(item.record.get("finished")) > str(kept.record.get("finished")):
            newest[_identity(item)] = item
    repeats: list[LeftOut] = []
    for item in complete:
        kept = newest[_identity(item)]
        if kept is not item:
            other = f"{kept.run.path.parent.name}/{kept.run.name}"
            repeats.append(_left_out(item.run, item.record, f"has the config and seed of {other}, which is used"))
    return [item for item in complete if newest[_identity(item)] is item], repeats


def _identity(item: _Complete) -> tuple[str, Any]:
    return (config_key(item.record), item.record["config"].get("seed"))


def config_key(record: Mapping[str, Any]) -> str:
    """What makes runs seeds of one another: equal method, model and config, the seed aside.

    An option that is not set is as good as absent: runs may be older than the option.
    """
    config = {key: value for key, value in record["config"].items() if key != "seed"}
    for part, keys in _WITHOUT_INFLUENCE.items():
        config[part] = {key: value for key, value in (config.get(part) or {}).items() if key not in keys}
    labels = config["task"].get("labels")
    if isinstance(labels, Mapping):  # what mistakes cost is asked after the run, not of it
        config["task"]["labels"] = {label: {**info, "mistakes": None} for label, info in labels.items()}
    return hash_json([record.get("method"), (record.get("model") or {}).get("id"), _set_options(config)])


def _set_options(config: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: _set_options(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    return {key: value for key, value in nested.items() if value is not None}


def _left_out(run: Run, record: dict[str, Any], reason: str) -> LeftOut:
    return LeftOut(
        run=run.name,
        method=str(record.get("method")),
        model=(record.get("model") or {}).get("id"),
        seed=(record.get("config") or {}).get("seed"),
        status=str(record.get("status")),
        reason=reason,
    )
