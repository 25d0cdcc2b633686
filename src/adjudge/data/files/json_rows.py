"""JSON and JSON lines as tables, lists and objects inside records kept as such."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.bad_rows import BadRows, damage
from adjudge.data.files.encodings import Encoding, open_text
from adjudge.data.files.json_shapes import as_records, kind, rows_of, splits_of

ADVICE = 'every row must be one object, {"column": value}'
MOST_LEVELS = 64
_INT64 = range(-(2**63), 2**63)
_BLANK = " \t\r\n\ufeff"
_BLANKS = re.compile(f"[{_BLANK}]+")


class _RepeatedKeyError(ValueError):
    """An object that gives a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {repeated!r} is given twice in one object, {json.dumps(made)[:80]}")
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def parse(text: str) -> Any:
    """Read one JSON value.

    Raises:
        ValueError: what is wrong with it, with its place where it is not valid JSON.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def json_format(lines: Sequence[str], suffix: str | None) -> str | None:
    """What a file is by its first lines: ``jsonl`` where each is a value of its own, ``json``, or None.

    Args:
        lines: lines that are not blank, from the first on; two are enough.
        suffix: the format that the file's name says, or None.
    """
    first = lines[0].strip(_BLANK) if lines else ""
    if not first.startswith(("{", "[")):
        return None
    try:
        value = parse(first)
    except _RepeatedKeyError:
        return "jsonl" if len(lines) > 1 or suffix == "jsonl" else "json"
    except ValueError:
        whole = first in ("{", "[") or first.startswith(("[{", "[[", '["')) or (suffix == "json" and first[-1] != "}")
        return "json" if whole else "jsonl" if suffix in ("json", "jsonl") else None
    if len(lines) == 1:
        return "jsonl" if suffix == "jsonl" and isinstance(value, dict) else "json"
    return "jsonl"


def read_json_batches(
    path: Path, source: Source, encoding: Encoding, batch_rows: int, role: str | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of a JSON file, in any shape of `adjudge.data.files.json_shapes`, or of values one after another.

    Where the file is an object of splits, ``role`` is the one that is wanted if the source names none.

    Raises:
        DataError: not valid JSON (line and column), another shape, or no rows.

    Warns:
        AdjudgeWarning: rows are left out.
    """
    with open_text(path, encoding) as stream:
        text = stream.read().strip(_BLANK)
    if not text:
        raise DataError(f"{path.name}: the file is empty; expected a JSON list of objects")
    if encoding.lenient and (damaged := damage(text)):
        raise DataError(f"{path.name}: {damaged}; rows of JSON cannot be left out for that, JSON lines can")
    try:
        values = _values(text)
        records = rows_of(values[0] if len(values) == 1 else values, path.name, source.split, role)
    except ValueError as error:
        raise DataError(f"{path.name}: not valid JSON: {error}") from error
    bad = BadRows(path.name, source.skip_bad_rows)
    seen = _Seen()
    rows: list[Mapping[str, Any]] = []
    escapes = "\\u" in text
    for number, record in enumerate(records, 1):
        problem = row_problem(record, escapes)
        if problem:
            bad.add(f"record {number}", problem)
        else:
            seen.add(record)
            rows.append(record)
    bad.conclude(ADVICE)
    if not seen.fields:
        raise DataError(f"{path.name}: no rows with a column")
    for start in range(0, len(rows), batch_rows):
        yield _frame(rows[start : start + batch_rows], seen)


def split_names(path: Path, encoding: Encoding) -> list[str]:
    """The names of the splits that a JSON file holds; none where it is no object of splits, or cannot be read."""
    with open_text(path, encoding) as stream:
        text = stream.read().strip(_BLANK)
    try:
        value = parse(text)
    except ValueError:
        return []
    return list(splits_of(value)) if isinstance(value, dict) else []


def _values(text: str) -> list[Any]:
    """The JSON values of a text, one after another; mostly there is one."""
    values: list[Any] = []
    at = 0
    try:
        while at < len(text):
            value, at = _DECODER.raw_decode(text, at)
            values.append(value)
            blanks = _BLANKS.match(text, at)
            at = blanks.end() if blanks else at
            if not isinstance(value, dict):
                break
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if at < len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return values


def row_problem(record: Any, escapes: bool) -> str:
    """Why a JSON value is no row; empty if it is one.

    Args:
        record: what was parsed.
        escapes: whether its text has escapes of characters by number, which can hold half a character.
    """
    if isinstance(record, list):
        return f"a list of {len(record)} values"
    if not isinstance(record, dict):
        return kind(record)
    level: list[Any] = [record]
    for _ in range(MOST_LEVELS):
        level = [item for part in level for item in (part.values() if isinstance(part, dict) else part)]
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            break
    else:
        return f"nested more than {MOST_LEVELS} levels deep"
    halves = [name for name, value in record.items() if escapes and _has_surrogate([name, value])]
    return f"column {halves[0]!r} holds half a character (an unpaired \\ud800 to \\udfff escape)" if halves else ""


def read_jsonl_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a JSON lines file, read twice in bounded memory: for the columns, then for the rows.

    Raises:
        DataError: more lines than `Source.skip_bad_rows` allows that are no JSON objects (the first ten with their
            problem, and the count), or no rows.

    Warns:
        AdjudgeWarning: rows are left out.
    """
    seen = _Seen()
    bad = BadRows(path.name, source.skip_bad_rows)
    rows = 0
    for line, record, problem in _lines(path, encoding):
        if problem:
            bad.add(f"line {line}", problem)
        else:
            rows += 1
            seen.add(record)
    bad.conclude(ADVICE)
    if not seen.fields:
        raise DataError(f"{path.name}: {'no row has a column' if rows else 'the file is empty'}; {ADVICE}")
    batch: list[Mapping[str, Any]] = []
    for _, record, problem in _lines(path, encoding):
        if not problem:
            batch.append(record)
        if len(batch) == batch_rows:
            yield _frame(batch, seen)
            batch = []
    if batch:
        yield _frame(batch, seen)


def _lines(path: Path, encoding: Encoding) -> Iterator[tuple[int, Any, str]]:
    """Line numbers with the line's object, and what is wrong with it; lines are of one kind, that of the first."""
    like: Any = None
    with open_text(path, encoding) as stream:
        for number, line in enumerate(stream, 1):
            text = line.strip(_BLANK)
            if not text:
                continue
            damaged = damage(text) if encoding.lenient else None
            if damaged:
                yield number, None, damaged
                continue
            try:
                value = parse(text)
            except json.JSONDecodeError as error:
                yield number, None, f"{error.msg} at column {error.colno}"
                continue
            except ValueError as error:
                yield number, None, str(error)
                continue
            like = value if like is None and isinstance(value, dict | list | str) else like
            record = as_records([value])[0] if _alike(value, like) else value
            yield number, record, row_problem(record, "\\u" in text)


def _alike(value: Any, like: Any) -> bool:
    """Whether a line is a row as another is: an object, a list of as many cells, or a text."""
    return type(value) is type(like) and (not isinstance(value, list) or len(value) == len(like))


@dataclass
class _Seen:
    """Which JSON values a place in the records has held."""

    scalars: set[str] = field(default_factory=set)
    items: _Seen | None = None
    fields: dict[str, _Seen] = field(default_factory=dict)

    def add(self, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                self.fields.setdefault(name, _Seen()).add(inner)
            if not value:
                self.scalars.add("empty object")
        elif isinstance(value, list):
            self.items = self.items or _Seen()
            for inner in value:
                self.items.add(inner)
        elif isinstance(value, int) and not isinstance(value, bool):
            self.scalars.add("int" if value in _INT64 else "large")
        elif value is not None:
            self.scalars.add(type(value).__name__)

    def dtype(self) -> pl.DataType:
        """One type that holds all of it; unlike values share String, what is no string then as JSON text."""
        if self.items and not self.scalars and not self.fields:
            return pl.List(self.items.dtype())
        if self.fields and not self.items and not self.scalars - {"empty object"}:
            return pl.Struct({name: seen.dtype() for name, seen in self.fields.items()})
        if self.scalars == {"bool"} and not self.items and not self.fields:
            return pl.Boolean()
        if self.scalars and self.scalars <= {"int", "float"} and not self.items and not self.fields:
            return pl.Int64() if self.scalars == {"int"} else pl.Float64()
        return pl.String()


def _frame(records: Sequence[Mapping[str, Any]], seen: _Seen) -> pl.DataFrame:
    columns = []
    for name, inner in seen.fields.items():
        dtype = inner.dtype()
        columns.append(pl.Series(name, [_conform(record.get(name), dtype) for record in records], dtype=dtype))
    return pl.DataFrame(columns)


def _conform(value: Any, dtype: Any) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pl.String):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(dtype, pl.Float64):
        return float(value)
    if isinstance(dtype, pl.List):
        return [_conform(item, dtype.inner) for item in value]
    if isinstance(dtype, pl.Struct):
        return {inner.name: _conform(value.get(inner.name), inner.dtype) for inner in dtype.fields}
    return value


def _has_surrogate(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
