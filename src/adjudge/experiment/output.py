"""Files that predictions are written to: which formats there are, what each can hold, parts joined to one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.atomic import atomic_path
from adjudge.core.errors import DataError, UsageError, WorkError

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def output_format(source: Path, output: Path, *, overwrite: bool) -> str:
    """The format of an output: ``csv``, ``tsv``, ``jsonl`` or ``parquet``.

    Raises:
        UsageError: an unknown format, a folder, the input itself, or a file that is there and is not to be replaced.
    """
    kind = _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise UsageError(f"{output}: unknown output format; name it {', '.join(f'*{suffix}' for suffix in _FORMATS)}")
    if output.is_dir():
        raise UsageError(f"{output}: is a directory; name a file")
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output}: is the input; name another output")
    if output.exists() and not overwrite:
        raise UsageError(f"{output}: is there already and is not overwritten; name another output, or --overwrite")
    return kind


def refuse_columns(schema: Mapping[str, pl.DataType], kind: str, name: str) -> None:
    """Refuse columns that an output of this format cannot hold.

    Raises:
        DataError: each such column with its type, and what can hold it.
    """
    problems = []
    for column, dtype in schema.items():
        held = next((part for part in _parts(dtype) if not _can_hold(kind, part)), None)
        if held is not None:
            able = next(
                (other for other in ("jsonl", "parquet") if all(_can_hold(other, p) for p in _parts(dtype))), ""
            )
            remedy = f"write *.{able}, or leave the column out" if able else "leave the column out"
            problems.append(
                f"{name}: column {column!r} holds {_words(held)}, which a .{kind} file cannot hold; {remedy}"
            )
    if problems:
        raise DataError(problems)


def _parts(dtype: pl.DataType) -> Iterator[pl.DataType]:
    """A type and those inside it."""
    yield dtype
    if isinstance(dtype, pl.List | pl.Array):
        yield from _parts(_instance(dtype.inner))
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _parts(_instance(field.dtype))


def _instance(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance


def _can_hold(kind: str, dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Object | pl.Int128 | pl.UInt128) or (isinstance(dtype, pl.Struct) and not dtype.fields):
        return False  # no part can be written either
    if isinstance(dtype, pl.Binary):
        return kind == "parquet"
    return not isinstance(dtype, pl.Duration) or kind in ("parquet", "jsonl")


def _words(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Binary):
        return "binary data"
    return "durations" if isinstance(dtype, pl.Duration) else f"values of the type {dtype}"


def write_output(parts: Sequence[Path], output: Path, kind: str, rows: int) -> None:
    """Write Parquet parts, in order, as one file; memory holds one part at a time.

    Raises:
        WorkError: the parts hold another number of rows; nothing is written then.
    """
    held = sum(pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts)
    if held != rows:
        raise WorkError(f"{output.name}: {rows} rows went in and {held} came out; nothing was written")
    frames = (pl.read_parquet(part) for part in parts)
    with atomic_path(output) as temporary:
        _WRITERS[kind](frames, temporary)


def _write_parquet(frames: Iterator[pl.DataFrame], path: Path) -> None:
    import pyarrow.parquet as pq

    first = next(frames).to_arrow()
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(frame.to_arrow().cast(first.schema))


def _write_jsonl(frames: Iterator[pl.DataFrame], path: Path) -> None:
    with path.open("wb") as stream:
        for frame in frames:
            frame.write_ndjson(stream)


def _write_csv(frames: Iterator[pl.DataFrame], path: Path, separator: str = ",") -> None:
    with path.open("wb") as stream:
        for number, frame in enumerate(frames):
            nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
            flat = frame.with_columns(_as_json(frame[name]) for name in nested) if nested else frame
            flat.write_csv(stream, include_header=number == 0, separator=separator)


def _as_json(series: pl.Series) -> pl.Series:
    """Lists and objects have no form of their own in CSV; they are written as JSON."""
    values = [
        None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in series.to_list()
    ]
    return pl.Series(series.name, values, dtype=pl.String)


_WRITERS: dict[str, Callable[[Iterator[pl.DataFrame], Path], None]] = {
    "csv": _write_csv,
    "tsv": lambda frames, path: _write_csv(frames, path, "\t"),
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
