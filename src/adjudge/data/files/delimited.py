"""CSV and TSV: every cell kept as the text that is in the file, every line accounted for."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Source
from adjudge.data.files.encodings import Encoding, open_text
from adjudge.data.files.layout import Layout, find_layout
from adjudge.data.files.records import read_records
from adjudge.data.files.survey import fit_row, record_damage

ADVICE = "put cells that hold the delimiter or a line break in double quotes, and double the quotes inside them"


def read_batches(
    path: Path, source: Source, encoding: Encoding, batch_rows: int, *, strict: bool = False
) -> Iterator[pl.DataFrame]:
    """The rows of a CSV or TSV file in order, all columns as strings, at most ``batch_rows`` at a time.

    The file is read twice: to find how it is written and whether every line fits, and for the rows. Blank lines are
    skipped, but a file of one column has an empty cell there. A quoted cell may hold delimiters, doubled quotes and
    line breaks.

    Args:
        path: the file.
        source: what is said about it.
        encoding: of its text.
        batch_rows: most rows in a batch.
        strict: whether cells that could be several rows are refused, and not only warned of.

    Raises:
        DataError: no header or no rows, repeated column names, or more rows than `Source.skip_bad_rows` allows whose
            number of cells differs from the header's, or whose quotes are broken (the first ten, and the count).

    Warns:
        AdjudgeWarning: something unusual was found about the file, or rows are left out.
    """
    layout = find_layout(path, source, encoding)
    if not layout.names:
        raise DataError(f"{path.name}: the file is empty; expected a header and rows")
    unclear = [f"{path.name}: {note.finding}; {note.remedy}" for note in layout.notes if note.unclear]
    if strict and unclear:
        raise DataError(unclear)
    for note in layout.notes:
        warnings.warn(f"{path.name}: {note.finding}; {note.remedy}", AdjudgeWarning, stacklevel=2)
    columns = ", ".join(layout.names[:8]) + (", …" if len(layout.names) > 8 else "")
    layout.bad.conclude(ADVICE, f"{len(layout.names)} cells ({columns})")
    empty = True
    for batch in batched(_rows(path, encoding, layout), batch_rows):
        empty = False
        yield frame_of(layout.names, batch)
    if empty:
        raise DataError(f"{path.name}: the file has a header only and no rows")


def _rows(path: Path, encoding: Encoding, layout: Layout) -> Iterator[list[str]]:
    """The rows that fit the layout."""
    width = len(layout.names)
    header: list[str] | None = None
    with open_text(path, encoding, layout.line_end) as stream:
        lines = itertools.islice(stream, layout.first_line - 1, None)
        for record in read_records(lines, layout.dialect, layout.first_line):
            if record.problem or (layout.lenient and record_damage(record)):
                continue
            if header is None and layout.header:
                header = record.cells or None
                continue
            cells = [""] if width == 1 and not record.cells else fit_row(record.cells, width)
            if cells and (width == 1 or cells != header):
                yield cells


def batched(rows: Iterator[list[str]], size: int) -> Iterator[list[list[str]]]:
    """Rows, at most so many at a time."""
    while batch := list(itertools.islice(rows, size)):
        yield batch


def frame_of(names: tuple[str, ...] | list[str], rows: list[list[str]]) -> pl.DataFrame:
    """Rows of strings as a table."""
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(name, column, dtype=pl.String) for name, column in columns])
