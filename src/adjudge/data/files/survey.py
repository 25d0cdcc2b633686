"""A first reading of a delimited file: how its lines fit one way of writing cells, before a row is taken from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adjudge.data.files.bad_rows import BadRows, damage
from adjudge.data.files.records import QUOTE, Dialect, Record, read_records

_LOOK_ROWS = 5_000
_MOST_VALUES = 200
_MOST_JOINED = 1_000
_FEW_ROWS = 4
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?")


@dataclass
class _Values:
    """What a column's cells look like on lines that are a record each."""

    rows: int = 0
    distinct: set[str] = field(default_factory=set)
    numeric: bool = True
    filled: bool = True
    tight: bool = True

    def add(self, cell: str) -> None:
        self.rows += 1
        if len(self.distinct) < _MOST_VALUES:
            self.distinct.add(cell)
        self.numeric = self.numeric and is_number(cell)
        self.filled = self.filled and bool(cell)
        self.tight = self.tight and cell == cell.strip()

    def verdict(self, cell: str) -> bool | None:
        """Whether a cell belongs here; None where this column's cells say nothing about it."""
        cell = cell.strip(QUOTE) or cell
        if not self.rows:
            return None if cell.strip() == cell != "" else False
        if (self.filled and not cell) or (self.tight and cell != cell.strip()):
            return False
        if self.numeric:
            return is_number(cell)
        if self.rows >= _FEW_ROWS and 2 * len(self.distinct) <= self.rows and len(self.distinct) < _MOST_VALUES:
            return cell in self.distinct
        return None


@dataclass
class Survey:
    """What a first reading found.

    Attributes:
        dialect: the way of writing cells that was tried.
        header: the first record, whose width every row must have.
        rows: rows that fit.
        bad: lines that do not.
        broken: of these, the lines that are no record.
        spans: rows that take several lines.
        joined: of these, the first rows whose every line has the header's width where quotes are characters.
        header_problem: why the first record cannot be read, where it should hold names.
        spaced_quotes: whether a cell begins with spaces and a quote, as in ``"fine", "x"``.
    """

    dialect: Dialect
    bad: BadRows
    broken: BadRows
    header: Record | None = None
    rows: int = 0
    spans: int = 0
    joined: list[Record] = field(default_factory=list)
    header_problem: str = ""
    spaced_quotes: bool = False
    counted: int = 0
    seen: int = 0
    values: list[_Values] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Cells of the header, and of every row."""
        return len(self.header.cells) if self.header is not None else 0

    @property
    def numbered(self) -> bool:
        """Whether every row has one cell more than the header, and it counts the rows (as R writes tables)."""
        return self.seen >= 2 and self.counted == self.seen

    @property
    def n_bad(self) -> int:
        """How many lines do not fit."""
        return self.broken.count if self.numbered else self.bad.count

    @property
    def clean(self) -> bool:
        """Whether every line fits, and no row looks like several that were joined."""
        return not self.n_bad and not self.suspects

    @property
    def suspects(self) -> list[Record]:
        """Rows that span lines, each of which could be a row.

        After a tab or a pipe, which texts rarely hold, its width is enough, and so it is in a file of one column;
        after a comma or a semicolon, nothing that its columns hold elsewhere may speak against it.
        """
        enough = self._is_rare or self.width == 1
        return [record for record in self.joined if enough or False not in self._verdicts(record)]

    @property
    def _is_rare(self) -> bool:
        return self.dialect.delimiter in ("\t", "|")

    def looks_joined(self) -> bool:
        """Whether quotes join rows here: nothing speaks against it, and for a common delimiter a column for it."""
        verdicts = [self._verdicts(record) for record in self.joined]
        supported = self._is_rare or any(True in found for found in verdicts)
        return bool(verdicts) and supported and not any(False in found for found in verdicts)

    def _verdicts(self, record: Record) -> set[bool | None]:
        """What the columns say to the cells of a record's lines, quotes read as characters."""
        found: set[bool | None] = set()
        for line in record.lines:
            cells = line.rstrip("\r\n").split(self.dialect.delimiter or "\n")
            found |= {values.verdict(cell) for values, cell in zip(self.values, cells, strict=True)}
        return found

    def add(self, record: Record, has_header: bool) -> None:
        """Take in a record that is neither blank nor broken."""
        if self.header is None:
            self.header = record
            self.values = [_Values() for _ in record.cells]
            if has_header:
                return
        self.seen += 1
        cells = record.cells
        fitted = fit_row(cells, self.width)
        counts = len(cells) == self.width + 1 and cells[0].strip() in (str(self.counted), str(self.counted + 1))
        self.counted += counts and fitted is None
        place = f"line {record.first}" if record.first == record.last else f"lines {record.first}–{record.last}"
        if fitted is None:
            self.bad.add(place, f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'} instead of {self.width}")
        elif has_header and self.width > 1 and fitted == self.header.cells:
            self.bad.add(place, "repeats the header")
        else:
            self.rows += 1
            self._look(record, fitted)

    def _look(self, record: Record, cells: Sequence[str]) -> None:
        if record.lines:
            self.spans += 1
            delimiter = self.dialect.delimiter
            if delimiter is None or all(line.count(delimiter) == self.width - 1 for line in record.lines):
                self.joined += [record] if len(self.joined) < _MOST_JOINED else []
        elif self.rows <= _LOOK_ROWS:
            for values, cell in zip(self.values, cells, strict=True):
                values.add(cell)
        if not self.spaced_quotes and not self.dialect.spaced:
            self.spaced_quotes = any(cell[:1] == " " and cell.lstrip(" ")[:1] == QUOTE for cell in cells[1:])


def survey(
    lines: Iterable[str],
    dialect: Dialect,
    has_header: bool,
    bad: tuple[BadRows, BadRows],
    first_line: int,
    lenient: bool,
) -> Survey:
    """Read all records once, keeping none.

    Args:
        lines: from the header on, with their line ends.
        dialect: how cells are taken to be written.
        has_header: whether the first record holds names.
        bad: where the rows that do not fit are noted, and where those are that are no record at all.
        first_line: number of the first line.
        lenient: whether the lines were decoded leniently, so that damaged characters have to be looked for.
    """
    found = Survey(dialect, *bad)
    for record in read_records(lines, dialect, first_line):
        problem = record.problem or (record_damage(record) if lenient else "")
        if problem and has_header and found.header is None:
            found.header_problem = found.header_problem or f"line {record.first}: {problem}"
        if problem:
            for rows in bad:
                rows.add(f"line {record.first}", problem)
        elif record.cells:
            found.add(record, has_header)
        elif found.width == 1:  # of one column, a blank line is an empty cell
            found.rows += 1
            found.seen += 1
    return found


def record_damage(record: Record) -> str:
    """What is wrong with the characters of a record, or an empty text."""
    return next((problem for cell in record.cells if (problem := damage(cell))), "")


def fit_row(cells: list[str], width: int) -> list[str] | None:
    """The cells of a row of this width; None if it has others. Delimiters at its end that add nothing are dropped."""
    if len(cells) > width and not any(cells[width:]):
        return cells[:width]
    return cells if len(cells) == width else None


def is_number(cell: str) -> bool:
    """Whether a cell is a number, as people and programs write numbers."""
    return _NUMBER.fullmatch(cell.strip()) is not None
