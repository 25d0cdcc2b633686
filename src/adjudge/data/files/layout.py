"""How a delimited file is written: delimiter, quotes, title rows, header. Found from the whole file, and told."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.bad_rows import BadRows
from adjudge.data.files.encodings import Encoding, open_text
from adjudge.data.files.headers import column_names, is_known, looks_like_data, numbered_names
from adjudge.data.files.records import QUOTE, Dialect, Record, read_records, without_end
from adjudge.data.files.survey import Survey, fit_row, survey

DELIMITERS = (",", "\t", ";", "|")
ANY_LINE_END, LINE_FEED = "", "\n"
TITLE_ROWS = 10
_SAMPLE_RECORDS = 200
_SAMPLE_CHARS = 1 << 18
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_TABLE_SHARE = 0.9
_SHOWN = 5


@dataclass(frozen=True)
class Note:
    """Something unusual about a file.

    Attributes:
        finding: what it is.
        remedy: what to write in a source, to confirm it or to have it otherwise.
        unclear: whether it is not settled how many rows there are.
    """

    finding: str
    remedy: str
    unclear: bool = False


@dataclass(frozen=True)
class Layout:
    """How a file is read, and what was found about it.

    Attributes:
        dialect: how cells are written.
        names: the columns.
        header: whether the first record holds their names.
        first_line: the line of the first record.
        line_end: what ends a line, for `adjudge.data.files.encodings.open_text`.
        lenient: whether damaged characters have to be looked for.
        bad: the rows that do not fit.
        notes: what is not as usual.
        options: options of a source that say the same, so that nothing is left to find.
    """

    dialect: Dialect
    names: tuple[str, ...]
    header: bool
    first_line: int
    line_end: str
    lenient: bool
    bad: BadRows
    notes: tuple[Note, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class _File:
    """A text file with what its source says."""

    path: Path
    source: Source
    encoding: Encoding
    first_line: int = 1

    def read(self, dialect: Dialect, line_end: str = ANY_LINE_END) -> Survey:
        """Survey the file in a dialect."""
        bad = BadRows(self.path.name, self.source.skip_bad_rows), BadRows(self.path.name, self.source.skip_bad_rows)
        with open_text(self.path, self.encoding, line_end) as stream:
            lines = itertools.islice(stream, self.first_line - 1, None)
            return survey(lines, dialect, bool(self.source.header), bad, self.first_line, self.encoding.lenient)


def find_layout(path: Path, source: Source, encoding: Encoding) -> Layout:
    """Find how a file is written; what the source says is not looked for.

    Double quotes are read as characters where that gives every line the header's width, and quoting breaks rows or
    joins lines that look like rows of their own.

    Raises:
        DataError: a header that is broken or repeats a name.
    """
    sample = _sample(path, encoding)
    begin, told = _separator_line(sample)
    delimiter = source.delimiter or told or find_delimiter(sample[begin:], source, path)
    dialect = Dialect(delimiter, source.quoting != "none", source.escape, source.comment)
    notes: list[Note] = []
    options: dict[str, Any] = {}
    if source.header is True:
        title = _title_lines(sample[begin:], dialect)
        if title:
            begin += title
            options["header"] = begin + 1
            notes.append(
                Note(
                    f"line {begin + 1} is taken as the header, and what is above it as a title",
                    f"write `header: {begin + 1}` to confirm it (`header: 1`: the first line is the header)",
                )
            )
    elif source.header is not False:
        begin = source.header - 1
    file = _File(path, source, encoding, begin + 1)
    found, line_end = _choose(file, dialect, sample[begin:])
    if found.header_problem:
        raise DataError(f"{path.name}: the header cannot be read: {found.header_problem}; correct it")
    notes += _notes(found, source, options)
    return Layout(
        dialect=found.dialect,
        names=_names(found, source, path.name),
        header=bool(source.header),
        first_line=begin + 1,
        line_end=line_end,
        lenient=encoding.lenient,
        bad=found.broken if found.numbered else found.bad,
        notes=tuple(notes),
        options=options,
    )


def _sample(path: Path, encoding: Encoding) -> list[str]:
    """The first lines, whole ones only where there are several."""
    with open_text(path, encoding) as stream:
        text = stream.read(_SAMPLE_CHARS)
        cut = bool(stream.read(1))
    lines = list(_lines(text))
    return lines[:-1] if cut and len(lines) > 1 else lines


def _lines(text: str) -> Iterator[str]:
    return (match.group() for match in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text))


def _separator_line(sample: Sequence[str]) -> tuple[int, str | None]:
    """How many lines a first line ``sep=;`` takes (it tells a spreadsheet the delimiter), and what it says."""
    match = _SEPARATOR_LINE.fullmatch(sample[0]) if sample else None
    return (0, None) if match is None else (1, match.group(1))


def find_delimiter(sample: Sequence[str], source: Source, path: Path | None = None) -> str | None:
    """The delimiter under which the first records have equally many cells; None where a line is one cell."""
    tabs = source.format == "tsv" or (path is not None and {".tsv", ".tab"} & set(map(str.lower, path.suffixes)))
    fits = {delimiter: fit(sample, delimiter, source) for delimiter in DELIMITERS}
    if tabs and fits["\t"][0]:
        return "\t"
    best = max(fits, key=lambda delimiter: (*fits[delimiter], -DELIMITERS.index(delimiter)))
    return best if fits[best][0] else None


def fit(sample: Sequence[str], delimiter: str, source: Source) -> tuple[bool, float]:
    """How well a delimiter explains a sample: whether there are several columns, the share of rows of one width."""
    dialect = Dialect(delimiter, source.quoting != "none", source.escape, source.comment)
    cells = [
        record.cells or without_end(sample[record.first - 1]).split(delimiter)  # a broken one: quotes are characters
        for record in _records(sample, dialect, broken=True)
    ]
    if cells and len(cells[0]) >= 2:
        return True, sum(fit_row(row, len(cells[0])) is not None for row in cells) / len(cells)
    title = title_records(cells) if source.header is True else 0
    return (True, 0.99) if title else (False, 0.0)


def _records(sample: Sequence[str], dialect: Dialect, *, broken: bool = False) -> list[Record]:
    """The first records that are not blank, broken ones only where they are asked for."""
    records = (record for record in read_records(sample, dialect) if record.cells or (broken and record.problem))
    return list(itertools.islice(records, _SAMPLE_RECORDS))


def _title_lines(sample: Sequence[str], dialect: Dialect) -> int:
    """Lines of a title above the header, blank ones included."""
    records = _records(sample, dialect)
    title = title_records([record.cells for record in records])
    return records[title].first - 1 if title else 0


def title_records(rows: Sequence[Sequence[str]]) -> int:
    """How many records are a title: at most one filled cell each, above a table of two columns or more."""
    filled = [sum(map(bool, row)) for row in rows[: TITLE_ROWS + 1]]
    title = next((i for i, cells in enumerate(filled) if cells >= 2), 0)
    below = rows[title:]
    known = any(is_known(cell) for row in rows[:title] for cell in row)
    if not title or known or len(below) < 3 or any(cell[:1] == " " for cell in below[0]):
        return 0
    table = [row for row in below if len(row) == len(below[0])]
    is_data = looks_like_data(below[0], list(zip(*table[1:], strict=True)) or [[]] * len(below[0]))
    return title if len(table) >= _TABLE_SHARE * len(below) and not is_data else 0


def _choose(file: _File, dialect: Dialect, sample: Sequence[str]) -> tuple[Survey, str]:
    """The way of writing cells that explains the file, and its line ends."""
    found = _choose_quoting(file, dialect, sample)
    if found.n_bad and any(line.endswith("\r") for line in sample) and any(line.endswith("\n") for line in sample):
        other = _choose_quoting(file, found.dialect, sample, LINE_FEED)  # a lone \r is a character then
        if other.n_bad < found.n_bad:
            return other, LINE_FEED
    return found, ANY_LINE_END


def _choose_quoting(file: _File, dialect: Dialect, sample: Sequence[str], line_end: str = ANY_LINE_END) -> Survey:
    found = file.read(dialect, line_end)
    if not dialect.quoting:
        return found
    if found.spaced_quotes:
        spaced = file.read(replace(dialect, spaced=True), line_end)
        found = spaced if spaced.n_bad <= found.n_bad and not spaced.suspects else found
    if found.clean:
        return found
    if dialect.escape is None and any(f"\\{QUOTE}" in line for line in sample):
        escaped = file.read(replace(found.dialect, escape="\\"), line_end)
        if escaped.n_bad < found.n_bad and not escaped.suspects:
            return escaped
    if file.source.quoting == "standard" or _wrapped(sample, dialect, bool(file.source.header)):
        return found
    plain = file.read(replace(dialect, quoting=False), line_end)
    if plain.width < 2:  # of one column, nothing shows whether lines belong together
        return plain if found.n_bad and not found.spans else found
    better = plain.n_bad < found.n_bad or (plain.n_bad == found.n_bad and found.looks_joined())
    return plain if better and plain.width == found.width else found


def _wrapped(sample: Sequence[str], dialect: Dialect, has_header: bool) -> bool:
    """Whether the first line has cells in quotes (all of them, where it is no header): quotes are meant then."""
    line = next((without_end(line) for line in sample if line.strip()), "")
    cells = [cell.strip() for cell in (line.split(dialect.delimiter) if dialect.delimiter else [line])]
    wrapped = [len(cell) > 1 and cell[0] == cell[-1] == QUOTE for cell in cells]
    return any(wrapped) if has_header else all(wrapped)


def _notes(found: Survey, source: Source, options: dict[str, Any]) -> list[Note]:
    """What was found about quotes, and in ``options`` what says the same."""
    notes = []
    if not found.dialect.quoting and source.quoting is None:
        options["quoting"] = "none"
        finding = (
            f"double quotes are read as characters: so lines have {found.width} cells each, while quotes that hold "
            "cells together would join lines or break rows"
        )
        notes.append(Note(finding, "write `quoting: none` to confirm it, or `quoting: standard`"))
    if found.dialect.escape is not None and source.escape is None:
        options["escape"] = found.dialect.escape
        notes.append(Note("a backslash keeps a quote inside its cell", r"write `escape: \` to confirm it"))
    suspects = found.suspects
    if suspects and source.quoting is None:
        lines = ", ".join(f"{record.first}–{record.last}" for record in suspects[:_SHOWN])
        more = ", …" if len(suspects) > _SHOWN else ""
        cells = "1 cell spans" if len(suspects) == 1 else f"{len(suspects)} cells span"
        finding = f"{cells} lines that could be rows of their own: lines {lines}{more}"
        remedy = (
            "if quotes are stray there, correct them or write `quoting: none`; `quoting: standard` confirms that they "
            "hold cells together"
        )
        notes.append(Note(finding, remedy, unclear=found.width > 1))
    return notes


def _names(found: Survey, source: Source, file: str) -> tuple[str, ...]:
    if found.header is None:
        return ()
    if not source.header:
        return tuple(numbered_names(found.width))
    names = column_names(found.header.cells, file)
    return tuple(column_names(["", *names], file)) if found.numbered else tuple(names)
