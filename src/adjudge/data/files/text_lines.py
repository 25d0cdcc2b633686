"""Files that are read line by line: a text and its label on a line, a text alone, or two parallel files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.bad_rows import BadRows, damage
from adjudge.data.files.delimited import batched, frame_of
from adjudge.data.files.encodings import Encoding, find_encoding, open_text
from adjudge.data.files.forms import line_form
from adjudge.data.files.layout import ANY_LINE_END, LINE_FEED
from adjudge.data.files.records import without_end

SAMPLE_LINES = 2_000
LABEL_DELIMITER = ";"
_LOOK_CHARS = 1 << 18


def read_line_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a file of `text;label` lines, split at the last delimiter, as columns ``text`` and ``label``.

    With `pattern`, the columns are its named groups instead. Blank lines are skipped; there is no header. The file is
    read twice, so that a line that cannot be split stops the work at once.

    Raises:
        DataError: no rows, or more lines than `Source.skip_bad_rows` allows without the delimiter or unlike the
            pattern (the first ten, and the count).

    Warns:
        AdjudgeWarning: rows are left out.
    """
    pattern = pattern_of(source)
    expected = f"lines `{source.pattern or f'text{source.delimiter or LABEL_DELIMITER}label'}`"
    bad = BadRows(path.name, source.skip_bad_rows)
    empty = True
    for number, line in _numbered(path, source, encoding):
        if not line.isspace() and line:
            problem = _problem(line, pattern, encoding)
            if problem:
                bad.add(f"line {number}", problem)
            empty = False
    if empty:
        raise DataError(f"{path.name}: the file is empty; expected {expected}")
    form = line_form(first_lines(path, encoding)) if bad.count else None
    bad.conclude(form.hint if form else "say how lines are written by `delimiter` or `pattern`", expected)
    names = list(pattern.groupindex)
    lines = (line for _, line in _numbered(path, source, encoding) if line and not line.isspace())
    matches = (pattern.fullmatch(line) for line in lines if not _problem(line, pattern, encoding))
    empty = True
    for batch in batched(([match[name] or "" for name in names] for match in matches if match), batch_rows):
        empty = False
        yield frame_of(names, batch)
    if empty:
        raise DataError(f"{path.name}: no line is left of those that can be read")


def pattern_of(source: Source) -> re.Pattern[str]:
    """What a whole line matches, its columns as named groups: the source's pattern, or text, delimiter and label."""
    delimiter = re.escape(source.delimiter or LABEL_DELIMITER)
    return re.compile(source.pattern or f"(?P<text>.*){delimiter}(?P<label>.*)")


def _problem(line: str, pattern: re.Pattern[str], encoding: Encoding) -> str:
    damaged = damage(line) if encoding.lenient else None
    return damaged or ("" if pattern.fullmatch(line) else f"{line[:60]!r} is written otherwise")


def read_text_batches(path: Path, source: Source, encoding: Encoding, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a file of one text a line, as a column ``text``; a blank line is an empty text.

    With `label_file`, the lines of that file beside it are the column ``label``.

    Raises:
        DataError: an empty file, lines that are no text in the encoding, or two files of unlike length.
    """
    if encoding.lenient:
        find_encoding(path, source.encoding)  # says which byte; a line that is left out would move the others
    labels = _labels(path, source) if source.label_file is not None else None
    texts: list[str] = []
    start = 0
    for _, line in _numbered(path, source, encoding):
        texts.append(line)
        if len(texts) == batch_rows:
            yield _text_frame(texts, labels, start)
            start, texts = start + batch_rows, []
    if texts:
        yield _text_frame(texts, labels, start)
    elif not start:
        raise DataError(f"{path.name}: the file is empty; expected one text on each line")


def _text_frame(texts: list[str], labels: list[str] | None, start: int) -> pl.DataFrame:
    columns = {"text": texts} if labels is None else {"text": texts, "label": labels[start : start + len(texts)]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _labels(path: Path, source: Source) -> list[str]:
    """The lines of the label file, as many as there are texts.

    Raises:
        DataError: another number of lines.
    """
    file = Path(str(source.label_file))
    said = Source(path=str(file))
    labels = [line.strip() for _, line in _numbered(file, said, find_encoding(file))]
    texts = sum(1 for _ in _numbered(path, source, find_encoding(path, source.encoding)))
    if len(labels) != texts:
        raise DataError(
            f"{file.name}: {len(labels):,} labels for the {texts:,} texts of {path.name}; the files must have "
            "equally many lines"
        )
    return labels


def _numbered(path: Path, source: Source, encoding: Encoding) -> Iterator[tuple[int, str]]:
    """Lines without their ends, numbered from 1, comments left out."""
    line_end = line_end_of(path, encoding)
    with open_text(path, encoding, line_end) as stream:
        for number, line in enumerate(stream, 1):
            if source.comment is None or not line.startswith(source.comment):
                yield number, without_end(line)


def line_end_of(path: Path, encoding: Encoding) -> str:
    """What ends a line: where line feeds do, a lone carriage return is a character."""
    with open_text(path, encoding) as stream:
        start = stream.read(_LOOK_CHARS)
    return LINE_FEED if "\n" in start.rstrip("\r\n") or "\r" not in start else ANY_LINE_END


def first_lines(path: Path, encoding: Encoding, most: int = SAMPLE_LINES) -> list[str]:
    """The first lines that are not blank, without their ends."""
    found: list[str] = []
    for _, line in _numbered(path, Source(path=str(path)), encoding):
        if line.strip():
            found.append(line)
        if len(found) == most:
            break
    return found
