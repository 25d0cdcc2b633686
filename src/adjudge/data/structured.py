"""JSON, JSON lines, Parquet, Arrow and Excel as tables, lists and objects inside records kept as such."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.optional import require
from adjudge.core.task import Source
from adjudge.data.encodings import Encoding, open_text

SHOWN = 10
_INT64 = range(-(2**63), 2**63)


def read_json_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a JSON file: a list of objects, or an object of columns of equal length.

    Raises:
        DataError: not valid JSON (line and column), another shape, or no rows.
    """
    del source
    with open_text(path, encoding) as stream:
        text = stream.read()
    if not text.strip():
        raise DataError(f"{path.name}: the file is empty; expected a JSON list of objects")
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path.name}: not valid JSON: {error}") from error
    records = _records(path, value)
    seen = _Seen()
    for record in records:
        seen.add(record)
    for start in range(0, len(records), batch_rows):
        yield _frame(path, records[start : start + batch_rows], seen, start)


def _records(path: Path, value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        lengths = {name: len(column) for name, column in value.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise DataError(f"{path.name}: columns of unlike length ({shown}); every column needs the same rows")
        value = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise DataError(f"{path.name}: expected a list of objects or an object of columns, found {_kind(value)}")
    wrong = [i for i, record in enumerate(value, 1) if not isinstance(record, dict)]
    if wrong:
        shown = ", ".join(f"{i} ({_kind(value[i - 1])})" for i in wrong[:SHOWN])
        raise DataError(f"{path.name}: {len(wrong)} records are no objects: records {shown}; expected column: value")
    if not value:
        raise DataError(f"{path.name}: the list is empty: no rows")
    return value


def read_jsonl_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a JSON lines file, read twice in bounded memory: for the columns, then for the rows.

    Raises:
        DataError: lines that are no JSON objects (the first ten with their problem, and the count), or no rows.
    """
    del source
    seen = _Seen()
    problems: list[str] = []
    n_problems = n_rows = 0
    for line, record in _lines(path, encoding):
        if isinstance(record, str):
            n_problems += 1
            problems += [f"line {line}: {record}"] if len(problems) < SHOWN else []
            continue
        n_rows += 1
        seen.add(record)
    if n_problems:
        more = f"; and {n_problems - SHOWN} more" if n_problems > SHOWN else ""
        raise DataError(
            f"{path.name}: {n_problems} lines are no JSON objects: {'; '.join(problems)}{more}; "
            'every line must be one object, {"column": value}'
        )
    if not n_rows:
        raise DataError(f"{path.name}: the file is empty; expected one JSON object on each line")
    batch: list[Mapping[str, Any]] = []
    start = 0
    for _, record in _lines(path, encoding):
        if not isinstance(record, str):
            batch.append(record)
        if len(batch) == batch_rows:
            yield _frame(path, batch, seen, start)
            start, batch = start + len(batch), []
    if batch:
        yield _frame(path, batch, seen, start)


def _lines(path: Path, encoding: Encoding) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line numbers with the line's object, or with what is wrong with it."""
    with open_text(path, encoding) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                yield number, f"{error.msg} at column {error.colno}"
                continue
            except RecursionError:
                yield number, "nested too deeply"
                continue
            yield number, record if isinstance(record, dict) else f"found {_kind(record)}"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


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


def _frame(path: Path, records: Sequence[Mapping[str, Any]], seen: _Seen, start: int) -> pl.DataFrame:
    columns = []
    for name, inner in seen.fields.items():
        dtype = inner.dtype()
        values = [_conform(record.get(name), dtype) for record in records]
        try:
            columns.append(pl.Series(name, values, dtype=dtype))
        except UnicodeEncodeError as error:
            row = next(i for i, value in enumerate(values) if _has_surrogate(json.dumps(value, ensure_ascii=False)))
            raise DataError(
                f"{path.name}: row {start + row + 1}, column {name!r}: half a character "
                "(an unpaired \\ud800 to \\udfff escape); correct or remove the row"
            ) from error
    return pl.DataFrame(columns)


def _conform(value: Any, dtype: Any) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pl.String):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(dtype, pl.List):
        return [_conform(item, dtype.inner) for item in value]
    if isinstance(dtype, pl.Struct):
        return {inner.name: _conform(value.get(inner.name), inner.dtype) for inner in dtype.fields}
    return value


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def read_parquet_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet file, a batch at a time.

    Raises:
        DataError: no Parquet file, a damaged one, or one without rows.
    """
    del source, encoding
    try:
        with pq.ParquetFile(path) as file:
            if not file.metadata.num_rows:
                raise DataError(f"{path.name}: the file has no rows")
            for batch in file.iter_batches(batch_size=batch_rows):
                yield pl.DataFrame(pl.from_arrow(batch))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: not a readable Parquet file: {error}") from error


def read_arrow_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of an Arrow or Feather file, in the file format or the stream format.

    Raises:
        DataError: no Arrow file, a damaged one, or one without rows.
    """
    del source, encoding
    try:
        with pa.memory_map(str(path)) as stream:
            is_file = stream.read(6) == b"ARROW1"
            stream.seek(0)
            opened = pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
            frame = pl.DataFrame(pl.from_arrow(opened.read_all()))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: not a readable Arrow file: {error}") from error
    if not frame.height:
        raise DataError(f"{path.name}: the file has no rows")
    yield from frame.iter_slices(batch_rows)


def read_excel_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of an Excel sheet, the first unless the source names one.

    Raises:
        DataError: no Excel file, no such sheet, or a sheet without rows.
        MissingExtraError: fastexcel is not installed.
    """
    del encoding
    fastexcel = require("fastexcel", "excel", "read Excel files")
    try:
        book = fastexcel.read_excel(str(path))
        sheets = list(book.sheet_names)
        if source.sheet is not None and source.sheet not in sheets:
            raise DataError(f"{path.name}: no sheet {source.sheet!r}; {did_you_mean(source.sheet, sheets)}")
        header = 0 if source.header else None
        frame = pl.DataFrame(book.load_sheet(source.sheet or sheets[0], header_row=header).to_polars())
    except (fastexcel.FastExcelError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name}: not a readable Excel file: {error}") from error
    if not frame.height:
        raise DataError(f"{path.name}: the sheet {source.sheet or sheets[0]!r} has no rows below its header")
    yield from frame.iter_slices(batch_rows)
