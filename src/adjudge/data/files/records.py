"""Lines to records: quotes, escapes and comments. Every line belongs to a record, is a comment, or is blank."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

QUOTE = '"'
NOT_CLOSED = "a quote that is not closed"
STRAY = 'a quote inside a quoted cell that is not doubled ("")'
MOST_LINES = 1 << 16
"""A quoted cell of more lines counts as one whose quote is not closed."""


@dataclass(frozen=True)
class Dialect:
    """How cells are written.

    Attributes:
        delimiter: between cells; None where a line is one cell.
        quoting: whether a cell may stand in double quotes; if not, quotes are characters like others.
        escape: before a quote, a delimiter, a line break or itself: the next character belongs to the cell. Before
            others it is a character itself.
        comment: lines that begin with it, outside of quotes, are passed over.
        spaced: whether spaces after a delimiter belong to it, as in ``"fine", "x"``.
    """

    delimiter: str | None = ","
    quoting: bool = True
    escape: str | None = None
    comment: str | None = None
    spaced: bool = False


class Record(NamedTuple):
    """One record, or a line that is none.

    Attributes:
        first: line on which it begins, from 1.
        last: line on which it ends.
        cells: its cells; none of a blank line or a broken one.
        problem: why it cannot be read; then it is one line, and the next record begins on the line below.
        lines: its lines, where it has several.
    """

    first: int
    last: int
    cells: list[str]
    problem: str = ""
    lines: tuple[str, ...] = ()


class _Lines:
    """Numbered lines that can be given back."""

    def __init__(self, lines: Iterable[str], first: int) -> None:
        self._source = iter(lines)
        self._again: deque[str] = deque()
        self.number = first - 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._source)
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)


def without_end(line: str) -> str:
    """A line without its line end: a line feed, a carriage return, or both."""
    if line.endswith("\r\n"):
        return line[:-2]
    return line[:-1] if line.endswith(("\n", "\r")) else line


def read_records(lines: Iterable[str], dialect: Dialect, first_line: int = 1) -> Iterator[Record]:
    """Split lines into records.

    Args:
        lines: with their line ends.
        dialect: how cells are written.
        first_line: number of the first line.
    """
    waiting = _Lines(lines, first_line)
    delimiter, escape, comment = dialect.delimiter, dialect.escape, dialect.comment
    for line in waiting:
        content = without_end(line)
        if comment is not None and content.startswith(comment):
            continue
        if not content or (content.isspace() and (delimiter is None or delimiter not in content)):
            yield Record(waiting.number, waiting.number, [])
        elif (dialect.quoting and QUOTE in content) or (escape is not None and escape in content):
            yield _Reading(line, waiting, dialect).record()
        else:
            cells = [content] if delimiter is None else content.split(delimiter)
            if dialect.spaced:
                cells = [cells[0], *(cell.lstrip(" ") for cell in cells[1:])]
            yield Record(waiting.number, waiting.number, cells)


class _Reading:
    """The reading of one record, from a line on."""

    def __init__(self, line: str, waiting: _Lines, dialect: Dialect) -> None:
        self._waiting = waiting
        self._dialect = dialect
        self._first = waiting.number
        self._lines = [line]
        self._at = 0
        self._end = len(without_end(line))
        marks = [mark for mark in (QUOTE, dialect.escape) if mark]
        self._marks = re.compile("|".join(map(re.escape, marks)))

    def record(self) -> Record:
        cells: list[str] = []
        while True:
            begin = self._at
            if self._dialect.spaced and cells:
                begin = self._skip_spaces(begin)
            quoted = self._dialect.quoting and self._text.startswith(QUOTE, begin, self._end)
            cell = self._quoted(begin + 1) if quoted else self._plain(begin)
            if cell is None:
                return self._broken(NOT_CLOSED)
            cells.append(cell)
            if self._at == self._end:
                lines = tuple(self._lines) if len(self._lines) > 1 else ()
                return Record(self._first, self._waiting.number, cells, lines=lines)
            if self._dialect.delimiter is None or not self._text.startswith(self._dialect.delimiter, self._at):
                return self._broken(STRAY)
            self._at += 1

    @property
    def _text(self) -> str:
        return self._lines[-1]

    def _broken(self, problem: str) -> Record:
        self._waiting.give_back(self._lines[1:])
        return Record(self._first, self._first, [], problem)

    def _skip_spaces(self, at: int) -> int:
        while at < self._end and self._text[at] == " ":
            at += 1
        return at

    def _next_line(self) -> bool:
        line = next(self._waiting, None) if len(self._lines) < MOST_LINES else None
        if line is None:
            return False
        self._lines.append(line)
        self._at, self._end = 0, len(without_end(line))
        return True

    def _quoted(self, at: int) -> str | None:
        """The cell whose opening quote is just before ``at``; None if it is never closed."""
        parts: list[str] = []
        while True:
            match = self._marks.search(self._text, at)
            if match is None:
                parts.append(self._text[at:])
                if not self._next_line():
                    return None
                at = 0
                continue
            after = self._text[match.end() : match.end() + 1]
            if match.group() == QUOTE and after != QUOTE:
                parts.append(self._text[at : match.start()])
                spaces = self._skip_spaces(match.end())
                ends = spaces == self._end or self._text[spaces] == self._dialect.delimiter
                self._at = spaces if ends else match.end()
                return "".join(parts)
            kept = match.group() == QUOTE or after not in (QUOTE, self._dialect.escape)
            if match.group() != QUOTE and kept:  # an escape that stands for itself
                parts.append(self._text[at : match.end()])
                at = match.end()
            else:
                parts.append(self._text[at : match.start()] + after)
                at = match.end() + 1

    def _plain(self, at: int) -> str:
        """The cell that begins at ``at`` without a quote."""
        delimiter, escape = self._dialect.delimiter, self._dialect.escape
        parts: list[str] = []
        while True:
            stop = self._text.find(delimiter, at, self._end) if delimiter is not None else -1
            stop = self._end if stop < 0 else stop
            mark = self._text.find(escape, at, stop) if escape is not None else -1
            if mark < 0:
                parts.append(self._text[at:stop])
                self._at = stop
                return "".join(parts)
            parts.append(self._text[at:mark])
            after = self._text[mark + 1 : mark + 2]
            if mark + 1 == self._end:  # the line end is escaped: the cell goes on below
                line_end = self._text[mark + 1 :]
                goes_on = self._next_line()
                parts.append(line_end if goes_on else str(escape))
                at = 0 if goes_on else self._end
                continue
            parts.append(after if after in (QUOTE, escape, delimiter) else f"{escape}{after}")
            at = mark + 2
