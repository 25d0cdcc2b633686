"""From a table to a split: texts, labels, row ids and metadata, every problem of the columns in one error."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import polars as pl

from adjudge.core.errors import DataError, nearest
from adjudge.core.hashing import hash_text
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.data.annotations.prodigy import refuse_rejected
from adjudge.data.files.headers import looks_like_data
from adjudge.data.label_cells import read_labels

SHOWN = 10
LOOK_ROWS = 1_000
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def normalise(text: str) -> str:
    """A text after NFC, strip and whitespace collapse: equal results count as the same text everywhere."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def content_keys(texts: Sequence[str]) -> list[str]:
    """The hash of each normalised text: equal keys mean the same text."""
    return [hash_text(normalise(text)) for text in texts]


def build_split(task: Task, frame: pl.DataFrame, name: str, source: str = "") -> Split:
    """Read a task's columns out of a table.

    Args:
        task: which columns hold text, label, id and metadata. A name with dots that is no column itself means
            a field of an object (``meta.accusation``).
        frame: the rows.
        name: the split's name.
        source: the table's name, for messages and for `Split.source`.

    Returns:
        The rows in order, numbered from 1. A missing label is None, a missing text is empty.

    Raises:
        DataError: columns that do not exist (with the nearest), that hold lists, or ids that are missing or
            repeated (with rows).
    """
    problems: list[str] = []
    wanted = [*_text_columns(task), *([task.id] if task.id else []), *task.metadata]
    columns: dict[str, list[str | None]] = {}
    labels: list[str | None] = []
    for column in dict.fromkeys(wanted):
        try:
            columns[column] = cells(frame, column, source)
        except DataError as error:
            problems += error.problems
    try:
        labels = labels_of(task, frame, source)
    except DataError as error:
        problems += error.problems
    if problems:
        raise DataError(problems)
    texts = _joined(task, columns)
    return Split(
        name=name,
        texts=texts,
        labels=labels,
        row_ids=content_ids(texts) if task.id is None else _own_ids(columns[task.id], task.id, source),
        meta={column: [cell or "" for cell in columns[column]] for column in task.metadata},
        row_numbers=range(1, frame.height + 1),
        source=source,
    )


def labels_of(task: Task, frame: pl.DataFrame, source: str) -> list[str | None]:
    """The labels of each row as one cell, in the form that equal answers share; see `adjudge.data.label_cells`.

    What the data write is replaced by the label that it means, where `Task.label_map` says so.

    Raises:
        DataError: there is no such column, or rows that hold what the task's problem has no place for.
    """
    problems = refuse_rejected(frame, task.label_columns, source)
    columns: dict[str, list[Any]] = {}
    for name in task.label_columns:
        try:
            columns[name] = label_values(frame, name, source)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return read_labels(task, columns, source)


def label_values(frame: pl.DataFrame, column: str, source: str = "") -> list[Any]:
    """A label column's values: texts as `cells` gives them, lists and dictionaries where it holds such.

    Raises:
        DataError: no such column (with the nearest), or binary data.
    """
    series = _column(frame, column, source)
    return series.to_list() if series.dtype.is_nested() else list(cells(frame, column, source))


def texts_of(task: Task, frame: pl.DataFrame, source: str = "") -> list[str]:
    """The texts of a table's rows: the text columns joined as the task says. No other column is needed.

    Raises:
        DataError: text columns that do not exist (with the nearest) or hold lists.
    """
    problems: list[str] = []
    columns: dict[str, list[str | None]] = {}
    for column in dict.fromkeys(_text_columns(task)):
        try:
            columns[column] = cells(frame, column, source)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return _joined(task, columns)


def _text_columns(task: Task) -> list[str]:
    if task.text_template is None:
        return task.text_columns
    names = [name for _, name in _template_parts(task.text_template) if name]
    if not names:
        raise DataError(f"task {task.name}: text_template {task.text_template!r} names no column, such as {{title}}")
    return names


def _joined(task: Task, columns: dict[str, list[str | None]]) -> list[str]:
    if task.text_template is None:
        values = [columns[name] for name in task.text_columns]
        if len(values) == 1:
            return [cell or "" for cell in values[0]]
        return ["\n".join(cell for cell in row if cell) for row in zip(*values, strict=True)]
    # Plain substitution in one pass: no format specs, no attribute access, and a cell's braces stay as they are.
    parts: list[list[str | None]] = []
    height = len(next(iter(columns.values())))
    for literal, name in _template_parts(task.text_template):
        parts += [[literal] * height, columns[name] if name else [""] * height]
    return ["".join(cell or "" for cell in row) for row in zip(*parts, strict=True)]


def _template_parts(template: str) -> list[tuple[str, str]]:
    """Literal text, each with the column that follows it ("" for none); {{ and }} stand for braces."""
    parts = []
    at = 0
    for match in _FIELD.finditer(template):
        literal = template[at : match.start()]
        name = match.group(1)
        parts.append((literal, name) if name is not None else (literal + match.group()[0], ""))
        at = match.end()
    return [*parts, (template[at:], "")]


def cells(frame: pl.DataFrame, column: str, source: str = "") -> list[str | None]:
    """A column's cells as text: numbers in their shortest form (1, 1.5), booleans true and false, missing None.

    Strings stay as written. Floats that are all whole numbers are written as integers, as a column of integers
    with missing cells is stored.

    Raises:
        DataError: no such column (with the nearest), or cells that hold lists or binary data.
    """
    series = _column(frame, column, source)
    dtype = series.dtype
    if dtype == pl.String:
        return series.to_list()
    if isinstance(dtype, pl.List | pl.Array):
        row, value = next(((i, v) for i, v in enumerate(series.to_list(), 1) if v is not None), (1, []))
        raise DataError(
            f"{source}: column {column!r} holds lists (row {row}: {value!r:.80}); a text classifier takes one text "
            "and one label per row: make one row of each value, or write a column that holds a single one"
        )
    if isinstance(dtype, pl.Struct):
        fields = ", ".join(f"{column}.{field.name}" for field in dtype.fields[:8])
        raise DataError(f"{source}: column {column!r} holds objects; name one of their fields: {fields}")
    if dtype in (pl.Binary, pl.Object):
        raise DataError(f"{source}: column {column!r} holds binary data; expected text")
    if dtype == pl.Boolean:
        return [None if cell is None else str(cell).lower() for cell in series.to_list()]
    if dtype.is_float():
        numbers = [None if cell is None or cell != cell else float(cell) for cell in series.to_list()]
        whole = all(number is None or number.is_integer() for number in numbers)
        return [None if number is None else str(int(number)) if whole else repr(number) for number in numbers]
    return [None if cell is None else str(cell) for cell in series.to_list()]


def _column(frame: pl.DataFrame, column: str, source: str) -> pl.Series:
    if column in frame.columns:
        return frame[column]
    first, *path = column.split(".")
    if path and first in frame.columns:
        series = frame[first]
        while path and isinstance(series.dtype, pl.Struct) and path[0] in series.struct.fields:
            series = series.struct.field(path.pop(0))
        if not path:
            return series
    near = nearest(column, frame.columns)
    hint = f"; did you mean {near!r}?" if near else ""
    shown = ", ".join(f"{name:.40}" for name in frame.columns[:40]) + (", …" if frame.width > 40 else "")
    strings = [frame[name].cast(pl.String, strict=False).head(LOOK_ROWS).to_list() for name in _scalars(frame)]
    sign = looks_like_data(_scalars(frame), strings)
    data = f"; the first row looks like data ({sign}): is there no header (`header: false`)?" if sign else ""
    raise DataError(f"{source}: no column {column!r}; columns: {shown}{hint}{data}")


def _scalars(frame: pl.DataFrame) -> list[str]:
    return [
        name for name, dtype in frame.schema.items() if not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)
    ]


def content_ids(texts: Sequence[str]) -> list[str]:
    """Row ids from content: the hash of the normalised text and how often it came before, such as ``…-0``."""
    seen: dict[str, int] = {}
    ids = []
    for key in content_keys(texts):
        ids.append(f"{key}-{(before := seen.get(key, 0))}")
        seen[key] = before + 1
    return ids


def _own_ids(values: list[str | None], column: str, source: str) -> list[str]:
    missing = [i for i, value in enumerate(values, 1) if not value]
    rows: dict[str, list[int]] = {}
    for i, value in enumerate(values, 1):
        if value:
            rows.setdefault(value, []).append(i)
    repeated = {value: at for value, at in rows.items() if len(at) > 1}
    problems = []
    if missing:
        problems.append(f"{source}: {len(missing)} rows have no id in column {column!r}: rows {_some(missing)}")
    if repeated:
        shown = "; ".join(f"{value!r} in rows {_some(at)}" for value, at in list(repeated.items())[:SHOWN])
        more = "; …" if len(repeated) > SHOWN else ""
        problems.append(
            f"{source}: {len(repeated)} ids of column {column!r} are given more than once: {shown}{more}; "
            "ids must be unique, or leave `id` out of the task"
        )
    if problems:
        raise DataError(problems)
    return [value or "" for value in values]


def _some(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
