"""Sheets of spreadsheets as tables: titles above the header, merged cells, rows with nothing in them."""

from __future__ import annotations

import html
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.errors import AdjudgeWarning, DataError, did_you_mean
from adjudge.core.optional import require
from adjudge.core.task import Source
from adjudge.data.files.headers import column_names, numbered_names
from adjudge.data.files.layout import title_records

_LOOK_ROWS = 200
_ATTRIBUTE = r"\b{name}=\"([^\"]*)\""
_SHEET = re.compile(r"<(?:\w+:)?sheet\s[^>]*>")
_RELATION = re.compile(r"<(?:\w+:)?Relationship\s[^>]*>")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*ref="([A-Z]+)([0-9]+):([A-Z]+)([0-9]+)"')
_FILLED_CELL = re.compile(rb'<(?:\w+:)?c\s(?:[^>]*?\s)?r="([A-Z]+)[0-9]+"[^>]*(?<!/)>')


def read_excel_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of an Excel sheet, the first unless the source names one.

    Rows in which nothing is written are passed over. A cell that is merged over several rows holds for each of them.

    Raises:
        DataError: no Excel file, no such sheet, a header that repeats a name, or a sheet without rows.
        MissingExtraError: fastexcel is not installed.

    Warns:
        AdjudgeWarning: rows above the header are taken as a title, or cells are merged.
    """
    del encoding
    fastexcel = require("fastexcel", "excel", "read Excel files")
    try:
        book = fastexcel.read_excel(str(path))
        sheets = list(book.sheet_names)
        if source.sheet is not None and source.sheet not in sheets:
            raise DataError(f"{path.name}: no sheet {source.sheet!r}; {did_you_mean(source.sheet, sheets)}")
        sheet = source.sheet or sheets[0]
        frame = _table(book, sheet, source, path)
    except (fastexcel.FastExcelError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name}: not a readable Excel file: {error}") from error
    if not frame.height:
        raise DataError(f"{path.name}: the sheet {sheet!r} has no rows below its header")
    yield from frame.iter_slices(batch_rows)


def title_above(path: Path, source: Source) -> int | None:
    """The number of the header's row, from 1, where there is a title above it; None where there is none.

    Raises:
        DataError: no Excel file, or no such sheet.
        MissingExtraError: fastexcel is not installed.
    """
    fastexcel = require("fastexcel", "excel", "read Excel files")
    try:
        book = fastexcel.read_excel(str(path))
        rows = _first_rows(book, source.sheet or book.sheet_names[0])
    except (fastexcel.FastExcelError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name}: not a readable Excel file: {error}") from error
    filled = [i for i, row in enumerate(rows) if any(row)]
    title = title_records([rows[i] for i in filled])
    return filled[title] + 1 if title else None


def _first_rows(book: Any, sheet: str) -> list[list[str]]:
    top = book.load_sheet(sheet, header_row=None, skip_rows=0, n_rows=_LOOK_ROWS, dtypes="string").to_polars()
    return [["" if cell is None else cell for cell in row] for row in top.rows()]


def _table(book: Any, sheet: str, source: Source, path: Path) -> pl.DataFrame:
    rows = _first_rows(book, sheet)
    filled = [i for i, row in enumerate(rows) if any(row)]
    if not filled:
        return pl.DataFrame()
    header = _header(rows, filled, source, path) if source.header else None
    first = filled[0] if header is None else header + 1
    frame = book.load_sheet(sheet, header_row=header, schema_sample_rows=None).to_polars()
    names = column_names(rows[header], path.name) if header is not None else numbered_names(frame.width)
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    written = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series() if frame.width > 1 else None
    frame = _with_merged(frame, first, path, book.sheet_names.index(sheet))
    return frame if written is None else frame.filter(written)


def _header(rows: list[list[str]], filled: list[int], source: Source, path: Path) -> int:
    """The header's row, from 0."""
    if source.header is not True:
        if source.header - 1 not in filled:
            raise DataError(f"{path.name}: `header: {source.header}`: there is nothing in that row")
        return source.header - 1
    title = title_records([rows[i] for i in filled])
    if title:
        row = filled[title] + 1
        warnings.warn(
            f"{path.name}: row {row} is taken as the header, and what is above it as a title; write `header: {row}` "
            "to confirm it",
            AdjudgeWarning,
            stacklevel=5,
        )
    return filled[title]


def _with_merged(frame: pl.DataFrame, first: int, path: Path, sheet: int) -> pl.DataFrame:
    """The frame, whose first row is this row of the sheet, with the cells filled that a merged cell covers."""
    cells = 0
    for column, top, bottom in _merged_cells(path, sheet):
        begin, end = top - first, bottom - first + 1
        if begin < 0 or column >= frame.width or end - begin < 2:
            continue
        series = frame.to_series(column)
        values = series.to_list()
        end = min(end, len(values))
        values[begin:end] = [values[begin] if value is None else value for value in values[begin:end]]
        frame = frame.with_columns(pl.Series(series.name, values, dtype=series.dtype))
        cells += 1
    if cells:
        warnings.warn(
            f"{path.name}: {cells} merged {'cell' if cells == 1 else 'cells'}: what such a cell holds is taken for "
            "every row that it covers",
            AdjudgeWarning,
            stacklevel=5,
        )
    return frame


def _merged_cells(path: Path, sheet: int) -> list[tuple[int, int, int]]:
    """Of an .xlsx sheet: column (from the first that is used), top and bottom row of every merged cell, from 0."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as book:
            content = book.read(_sheet_file(book, sheet))
    except (KeyError, IndexError, UnicodeDecodeError):
        return []
    merged = _MERGED.findall(content)
    if not merged:
        return []
    leftmost = min((_column(letters) for letters in set(_FILLED_CELL.findall(content))), default=0)
    return [(_column(left) - leftmost, int(top) - 1, int(bottom) - 1) for left, top, _, bottom in merged]


def _sheet_file(book: zipfile.ZipFile, sheet: int) -> str:
    """The file of a sheet inside an .xlsx file; KeyError or IndexError where it is none."""
    tag = _SHEET.findall(book.read("xl/workbook.xml").decode())[sheet]
    wanted = re.findall(_ATTRIBUTE.format(name=r"\w+:id"), tag)[0]
    for relation in _RELATION.findall(book.read("xl/_rels/workbook.xml.rels").decode()):
        if re.findall(_ATTRIBUTE.format(name="Id"), relation) == [wanted]:
            target = html.unescape(re.findall(_ATTRIBUTE.format(name="Target"), relation)[0])
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    raise KeyError(wanted)


def _column(letters: bytes) -> int:
    """The position of a column, from 0: A, B, …, Z, AA."""
    position = 0
    for letter in letters:
        position = 26 * position + letter - ord("A") + 1
    return position - 1
