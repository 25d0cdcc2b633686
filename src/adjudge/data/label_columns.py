"""Which column or columns hold the labels of a table, how many labels a row has, and which labels there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from adjudge.core.config import to_yaml
from adjudge.core.errors import DataError
from adjudge.core.problem import SINGLE, Problem
from adjudge.core.task import Task
from adjudge.data.label_cells import structured_labels
from adjudge.data.rows import label_values, labels_of
from adjudge.data.spelling import difference, quoted, variants

SEPARATORS = ("|", ";", ",", "#")
MIN_MARKED = 3
"""Fewer columns of 0 and 1 are more often facts about a text than its labels."""
_REUSED = 0.8
_MAX_LABEL_CHARS = 60
_MAX_LISTED = 200


@dataclass(frozen=True)
class LabelColumns:
    """The labels of a table.

    Attributes:
        label: the column, or a column of 0 and 1 for each label.
        problem: how many labels a row has, and what stands between them.
        cells: ``[N]`` each row's labels as one cell; None where there is none.
        labels: the labels that occur, sorted.
        notes: what the user should know of how they were read and written.
    """

    label: str | tuple[str, ...]
    problem: Problem
    cells: list[str | None]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The column's name, or all of them."""
        return self.label if isinstance(self.label, str) else ", ".join(self.label)

    def to_yaml(self) -> str:
        """The lines of a task that say so, without a line break at the end."""
        label = to_yaml({"label": self.label}) if isinstance(self.label, str) else f"label: {_flow(list(self.label))}"
        if self.problem.single:
            return label.rstrip()
        usual = Problem(kind=self.problem.kind)
        changed = {"kind": self.problem.kind}
        changed |= {key: value for key, value in self.problem if value is not None and value != getattr(usual, key)}
        return f"{label.rstrip()}\nproblem: {self.problem.kind if self.problem == usual else _flow(changed)}"


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9).rstrip()


def read_label_columns(frame: pl.DataFrame, label: str | Sequence[str], source: str) -> LabelColumns:
    """Read the labels of a table by the problem that fits them.

    Args:
        frame: the rows.
        label: the column, or a column of 0 and 1 for each label.
        source: the file's name, for messages.

    Raises:
        DataError: no such column, or cells that hold no labels.
    """
    chosen: str | tuple[str, ...] = label if isinstance(label, str) else tuple(label)
    problem, note = _fitting(frame, chosen, source)
    task = Task(name="labels", label=chosen if isinstance(chosen, str) else list(chosen), problem=problem)
    cells = labels_of(task, frame, source)
    labels = sorted({name for cell in cells if cell is not None for name in problem.split(cell)})
    alike = [f"{', '.join(map(quoted, group))}: {difference(group[1], group[0])}" for group in variants(labels)]
    spelling = f"labels that may be one, by their spelling: {'; '.join(alike)}; `label_map` in the task makes them one"
    notes = (*([note] if note else []), *([spelling] if alike else []))
    return LabelColumns(chosen, problem, cells, tuple(labels), notes)


def listed_labels(frame: pl.DataFrame, column: str) -> list[str] | None:
    """Every label of every row of a column whose cells are lists or objects, typed or as text; None of other columns.

    Without an answer in any row, as of spans or of settings, there are none.
    """
    sets = _sets(frame, column)
    return None if sets is None else [label for row in sets for label in row or ()]


def _sets(frame: pl.DataFrame, column: str) -> list[tuple[str, ...] | None] | None:
    try:
        values = label_values(frame, column)
    except DataError:
        return []
    if any(isinstance(value, list) and len(value) > _MAX_LISTED for value in values):
        return []  # numbers that stand for a text or a picture
    return structured_labels(values)


def marked_columns(frame: pl.DataFrame, candidates: Sequence[str]) -> tuple[str, ...]:
    """The candidates for the label, if each holds 0 and 1 alone and there are at least `MIN_MARKED`; else none."""
    marks = ({_mark(value) for value in frame[column].drop_nulls().unique().to_list()} for column in candidates)
    return tuple(candidates) if len(candidates) >= MIN_MARKED and all(values == {"0", "1"} for values in marks) else ()


def _mark(value: Any) -> str:
    text = str(value).strip().lower()
    return {"true": "1", "1.0": "1", "false": "0", "0.0": "0"}.get(text, text)


def _fitting(frame: pl.DataFrame, label: str | tuple[str, ...], source: str) -> tuple[Problem, str | None]:
    if not isinstance(label, str):
        several = Task(name="labels", label=list(label), problem=Problem(kind="multi_label"))
        counts = {len(several.problem.split(cell)) for cell in labels_of(several, frame, source) if cell is not None}
        shown = ", ".join(label[:8]) + (", …" if len(label) > 8 else "")
        note = f"a column of 0 and 1 for each label ({shown}), "
        if counts == {1}:
            return SINGLE, note + "with a single 1 in each row; if one of them is the label, choose with --label"
        return separated(label), note + "read as several labels; if one of them is the label, choose with --label"
    sets = _sets(frame, label)
    if sets is not None:
        if all(row is None or len(row) < 2 for row in sets):
            return SINGLE, None
        labels = {name for row in sets for name in row or ()}
        return separated(sorted(labels)), f"column {label!r} holds lists: a row may have several labels (multi_label)"
    written = [value for value in label_values(frame, label, source) if isinstance(value, str) and value.strip()]
    separator = next((each for each in SEPARATORS if _separates(written, each)), None)
    if separator is None:
        return SINGLE, None
    note = (
        f"column {label!r} holds labels with {separator!r} between them: a row may have several labels (multi_label); "
        "if each cell is one label, take `problem` out of the task and write its `labels` whole"
    )
    return Problem(kind="multi_label", separator=separator), note


def _separates(written: Sequence[str], separator: str) -> bool:
    """Whether cells are sets over few labels: nearly all parts of the cells that hold the separator are used again."""
    cells = set(written)
    parted = {cell: [part.strip() for part in cell.split(separator)] for cell in cells}
    parts = {part for of in parted.values() if len(of) > 1 for part in of}
    if not parts or not all(parts) or max(map(len, parts)) > _MAX_LABEL_CHARS:
        return False
    uses = Counter(part for of in parted.values() for part in set(of))
    return len(uses) <= len(cells) and sum(uses[part] > 1 for part in parts) >= _REUSED * len(parts)


def separated(labels: Sequence[str]) -> Problem:
    """Several labels for a text, with a separator that no label holds."""
    held = "".join(labels)
    separator = next((each for each in (*SEPARATORS, "||", "##", " & ") if each not in held), "|")
    none = next(word for word in ("(none)", "(no label)", "(nothing)") if word not in labels)
    return Problem(kind="multi_label", separator=separator, none=none)
