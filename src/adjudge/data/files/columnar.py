"""Parquet and Arrow as tables: column types that Rust's side cannot take are refused before they reach it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.features import class_names, with_names

_SIMPLE = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_date,
    pa.types.is_time, pa.types.is_timestamp, pa.types.is_duration, pa.types.is_string, pa.types.is_large_string,
    pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)  # fmt: skip
_WIDEST_DECIMAL = 128


def read_parquet_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet file, a batch at a time; numbers of `datasets` classes become their names.

    Raises:
        DataError: no Parquet file, a damaged one, one without rows, or a column type that cannot be read.
    """
    del source, encoding
    try:
        with pq.ParquetFile(path) as file:
            rows = 0
            for batch in file.iter_batches(batch_size=batch_rows):
                rows += batch.num_rows
                yield to_frame(pa.Table.from_batches([batch], file.schema_arrow), path.name)
            if rows != file.metadata.num_rows:
                raise DataError(f"{path.name}: says that it has {file.metadata.num_rows:,} rows and holds {rows:,}")
            if not rows:
                raise DataError(f"{path.name}: the file has no rows")
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path.name}: not a readable Parquet file: {error}") from error


def read_arrow_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of an Arrow or Feather file, in the file format or the stream format.

    Raises:
        DataError: no Arrow file, a damaged one, one without rows, or a column type that cannot be read.
    """
    del source, encoding
    try:
        with pa.OSFile(str(path)) as stream:
            is_file = stream.read(6) == b"ARROW1"
            stream.seek(0)
            opened = pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
            frame = to_frame(opened.read_all(), path.name)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path.name}: not a readable Arrow file: {error}") from error
    if not frame.height:
        raise DataError(f"{path.name}: the file has no rows")
    yield from frame.iter_slices(batch_rows)


def to_frame(table: Any, name: str) -> pl.DataFrame:
    """An Arrow table as columns.

    Raises:
        DataError: column types that cannot be read, all of them, or a column name that is given twice.
        ArrowException: a damaged table.
    """
    repeated = sorted({column for column in table.column_names if table.column_names.count(column) > 1})
    if repeated:
        raise DataError(f"{name}: has several columns {', '.join(map(repr, repeated))}; make the names differ")
    fields, problems = [], []
    for field in table.schema:
        try:
            fields.append(pa.field(field.name, _plain(field.type)))
        except TypeError:
            problems.append(
                f"{name}: column {field.name!r} has the type {field.type}, which cannot be read; convert it or leave "
                "it out of the file"
            )
    if problems:
        raise DataError(problems)
    table.validate(full=True)  # a damaged file would end the process further on
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_arrays(columns, schema=pa.schema(fields))))
    return with_names(frame, class_names(table.schema.metadata))


def _plain(kind: Any) -> Any:
    """The type that a column is read as: extensions as what they are stored as, maps as lists of pairs.

    Raises:
        TypeError: there is none.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_map(kind):
        return pa.list_(pa.struct([("key", _plain(kind.key_type)), ("value", _plain(kind.item_type))]))
    if pa.types.is_dictionary(kind):
        _plain(kind.value_type)
        return kind
    if pa.types.is_fixed_size_list(kind) and kind.list_size:
        return pa.list_(_plain(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _ = kind.value_field.name.encode()  # half a character in it would end the process further on
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(_plain(kind.value_type))
    if pa.types.is_struct(kind) and kind.num_fields:
        names = [kind.field(i).name for i in range(kind.num_fields)]
        if len(set(names)) == len(names):
            return pa.struct([(kind.field(i).name, _plain(kind.field(i).type)) for i in range(kind.num_fields)])
    simple = any(is_kind(kind) for is_kind in _SIMPLE)
    if simple or (pa.types.is_decimal(kind) and kind.bit_width <= _WIDEST_DECIMAL):
        return kind
    raise TypeError(str(kind))
