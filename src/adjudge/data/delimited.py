"""CSV, TSV and lines of `text;label`: dialect found, every cell kept as the text that is in the file."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.encodings import Encoding, open_text

DELIMITERS = (",", "\t", ";", "|")
SHOWN = 10
_SAMPLE_RECORDS = 200
_SAMPLE_CHARS = 1 << 18
# The csv module refuses cells above 128 KiB by default; a long document is no error.
_CELL_LIMIT = (1 << 31) - 1


def read_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a CSV or TSV file in order, all columns as strings, at most ``batch_rows`` at a time.

    Blank lines are skipped. A quoted cell may hold delimiters, doubled quotes and line breaks.

    Raises:
        DataError: no header or no rows, repeated column names, rows whose number of cells differs from the
            header's (the first ten line numbers and the count), or a quote that is not closed.
    """
    delimiter = source.delimiter or find_delimiter(path, source, encoding)
    with open_text(path, encoding) as stream:
        reader = _reader(stream, delimiter)
        records = _records(path, reader)
        first = next(records, None)
        if first is None:
            raise DataError(f"{path.name}: the file is empty; expected a header and rows")
        names = _names(path, first[1]) if source.header else [f"column_{i + 1}" for i in range(len(first[1]))]
        rows = records if source.header else itertools.chain([first], records)
        yield from _batches(path, names, rows, batch_rows)


def read_line_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a file of `text;label` lines, split at the last delimiter, as columns ``text`` and ``label``.

    With `pattern`, the columns are its named groups instead. Blank lines are skipped; there is no header.

    Raises:
        DataError: no rows, or lines without the delimiter or unlike the pattern (the first ten line numbers and the
            count).
    """
    delimiter = source.delimiter or ";"
    pattern = re.compile(source.pattern or f"(?P<text>.*){re.escape(delimiter)}(?P<label>.*)")

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(stream, 1):
            content = line.rstrip("\r\n")
            if content.strip():
                found = pattern.fullmatch(content)
                yield number, [found[name] or "" for name in names] if found else []

    names = list(pattern.groupindex)
    with open_text(path, encoding) as stream:
        shape = f"expected lines `{source.pattern or f'text{delimiter}label'}`"
        yield from _batches(path, names, rows(), batch_rows, shape)


def find_delimiter(path: Path, source: Source, encoding: Encoding) -> str:
    """The delimiter under which the first records have equally many cells: comma, tab, semicolon or pipe."""
    if source.format == "tsv" or _suffix(path) in {".tsv", ".tab"}:
        return "\t"
    with open_text(path, encoding) as stream:
        sample = stream.read(_SAMPLE_CHARS)
    return max(DELIMITERS, key=lambda delimiter: fit(sample, delimiter))


def fit(sample: str, delimiter: str) -> tuple[bool, float, int]:
    """How well a delimiter explains a sample: several columns, share of rows as wide as the first, its place."""
    widths: list[int] = []
    reader = _reader(io.StringIO(sample, newline=""), delimiter)
    with contextlib.suppress(csv.Error):  # a cut-off last record, or quotes that this delimiter does not explain
        widths.extend(len(row) for row in itertools.islice(reader, _SAMPLE_RECORDS) if row)
    if not widths or widths[0] < 2:
        return False, 0.0, 0
    return True, sum(width == widths[0] for width in widths) / len(widths), -DELIMITERS.index(delimiter)


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def _reader(lines: Iterator[str] | TextIO, delimiter: str) -> Any:
    csv.field_size_limit(max(csv.field_size_limit(), _CELL_LIMIT))
    return csv.reader(lines, delimiter=delimiter, quotechar='"', doublequote=True, strict=True)


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line on which it begins."""
    begin = 1
    try:
        for row in reader:
            if row:
                yield begin, row
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path.name}: the record that begins on line {begin} has a stray or unclosed quote ({error}); "
            'put the cell in quotes and double the quotes inside it ("")'
        ) from error


def _names(path: Path, header: Sequence[str]) -> list[str]:
    """Column names; an empty name (as row numbers written by data frames have) becomes ``column_<position>``."""
    names = [name.strip() or f"column_{i + 1}" for i, name in enumerate(header)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path.name}: the header repeats {', '.join(map(repr, repeated))}; make the names differ")
    return names


def _batches(
    path: Path,
    names: list[str],
    rows: Iterator[tuple[int, list[str]]],
    batch_rows: int,
    shape: str | None = None,
) -> Iterator[pl.DataFrame]:
    width = len(names)
    ragged: list[str] = []
    n_ragged = n_rows = 0
    batch: list[list[str]] = []
    for line, row in rows:
        if len(row) != width:
            n_ragged += 1
            if len(ragged) < SHOWN:
                ragged.append(str(line) if shape else f"{line} ({len(row)} cells)")
            continue
        n_rows += 1
        batch.append(row)
        if len(batch) == batch_rows:
            if not n_ragged:
                yield _frame(names, batch)
            batch = []
    if n_ragged:
        shown = ", ".join(ragged) + (", …" if n_ragged > SHOWN else "")
        if shape:
            raise DataError(f"{path.name}: {n_ragged} lines cannot be split, lines {shown}; {shape}")
        columns = ", ".join(names[:8]) + (", …" if width > 8 else "")
        raise DataError(
            f"{path.name}: {n_ragged} rows do not have {width} cells as the header does ({columns}): "
            f"lines {shown}; put cells that hold the delimiter or a line break in double quotes"
        )
    if not n_rows:
        reason = f"the file is empty; {shape}" if shape else "the file has a header only and no rows"
        raise DataError(f"{path.name}: {reason}")
    if batch:
        yield _frame(names, batch)


def _frame(names: list[str], rows: list[list[str]]) -> pl.DataFrame:
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(name, column, dtype=pl.String) for name, column in columns])
