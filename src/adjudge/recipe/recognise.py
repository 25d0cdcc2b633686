"""What a data file is: how it is read, whether its first row is a header, which splits and names of classes it has.

Nothing is guessed without a word: what is not plain comes back as notes, and as options that say it in the task.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Source
from adjudge.data.files.encodings import find_encoding
from adjudge.data.files.excel import title_above
from adjudge.data.files.formats import is_table
from adjudge.data.files.forms import line_form
from adjudge.data.files.headers import looks_like_data
from adjudge.data.files.json_rows import json_format, split_names
from adjudge.data.files.json_shapes import SPLITS
from adjudge.data.files.layout import find_layout
from adjudge.data.files.text_lines import first_lines
from adjudge.data.readers import OpenedSource, format_by_name, is_text_file, open_source, read_table
from adjudge.data.rows import cells

SEPARATORS = (",", ";", "|", " ")
_LOOK_ROWS = 1_000


@dataclass(frozen=True)
class Recognised:
    """A data file and what it is.

    Attributes:
        source: how it is read; its path is as given.
        frame: the rows.
        splits: role -> the file's name for it, where it holds splits by name; else empty.
        notes: what the user should know, a sentence each.
    """

    source: Source
    frame: pl.DataFrame
    splits: dict[str, str]
    notes: tuple[str, ...]


def recognise(given: Source) -> Recognised:
    """Look at a file.

    Args:
        given: the file, with what the user says about it; that is not looked for.

    Raises:
        DataError: it cannot be read, or its form cannot be told; the message says what to give.
    """
    source, notes = _with_form(given)
    splits: dict[str, str] = {}
    with _noted(notes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjudgeWarning)  # a guessed encoding is said below
            opened = open_source(source)
        if opened.encoding is not None and opened.encoding.guessed:
            source = source.model_copy(update={"encoding": opened.encoding.name})
            notes.append(f"not UTF-8; read as {opened.encoding.name}, inferred from its bytes; look at a few texts")
        if opened.format == "json" and source.split is None:
            splits = _splits(opened)
            source = source.model_copy(update={"split": splits.get("train")})
        if opened.format in ("csv", "tsv") and opened.encoding is not None:
            layout = find_layout(opened.path, source, opened.encoding)
            told = layout.notes if layout.options else ()  # others are said again when the file is read
            notes += [f"{note.finding}; the task says so" for note in told]
            source = source.model_copy(update=layout.options)
        if opened.format == "excel" and source.header is True and (row := title_above(opened.path, source)):
            notes.append(f"row {row} is taken as the header, and what is above it as a title; the task says so")
            source = source.model_copy(update={"header": row})
        frame = read_table(source).frame
        sign = _sign_of_data(frame) if opened.format in ("csv", "tsv", "excel") and source.header is True else None
        if sign is not None:
            source = source.model_copy(update={"header": False})
            frame = read_table(source).frame
            notes.append(
                f"the first row looks like data ({sign}), so there is no header, and columns are called column_1, "
                "column_2, …; if it is a header, say --source header=1"
            )
    if splits:
        notes.append(f"the file holds splits ({', '.join(splits.values())}); the task takes them as they are")
    plain = [note.removeprefix(f"{opened.path.name}: ") for note in notes]
    return Recognised(source, frame, splits, tuple(dict.fromkeys(plain)))


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """Gather warnings about the file as notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AdjudgeWarning)
        yield
    notes += [str(one.message) for one in caught if issubclass(one.category, AdjudgeWarning)]


def _with_form(given: Source) -> tuple[Source, list[str]]:
    """The source, with how its lines hold text and label where they do."""
    path = Path(given.path)
    if given.format is not None or given.label_file is not None or not path.is_file():
        return given, []
    if format_by_name(path) not in ("lines", None) or not is_text_file(path, given):
        return given, []
    lines = first_lines(path, find_encoding(path, given.encoding, lenient=given.skip_bad_rows > 0))
    if given.delimiter is not None or json_format(lines[:2], None) or not lines:
        return given, []
    form = None if _has_names(lines) else line_form(lines)
    if form is not None:
        plain = form.options == {"format": "lines", "delimiter": ";"} and path.suffix.lower() == ".txt"
        notes = [] if plain else [f"lines are read as `{form.shown}`; if they are another form, say it with --source"]
        return (given if plain else given.model_copy(update=form.options)), notes
    if is_table(lines, given) or format_by_name(path) is None:
        return given, []
    beside = _label_files(path)
    hint = f"; {beside[0].name} beside it may hold the labels: --label-file {beside[0]}" if beside else ""
    raise DataError(
        f"{path.name}: its lines hold no text and label that can be told apart; say how they are written, such as "
        rf"--delimiter '\t', --format csv, or --format lines --source pattern='(?P<label>\w+) (?P<text>.+)'{hint}"
    )


def _has_names(lines: Sequence[str]) -> bool:
    """Whether the first line is a header of usual names over a table."""
    return is_table(lines, Source(path="-")) and not re.search(r"\d", lines[0])


def _label_files(path: Path) -> list[Path]:
    """Files beside a file of texts that may hold its labels: the same name, with label in place of text."""
    stem = path.stem.lower()
    wanted = {stem.replace("text", "label"), stem.replace("text", "labels"), f"{stem}_labels", f"{stem}_label"} - {
        stem
    }
    names = {f"{name}{suffix}" for name in wanted for suffix in (path.suffix, ".txt")}
    names |= {f"{path.stem}{suffix}" for suffix in (".label", ".labels", ".lbl")}
    return sorted(file for file in path.parent.iterdir() if file.name in names or file.name.lower() in names)


def _splits(opened: OpenedSource) -> dict[str, str]:
    """Role -> name of the splits that a JSON file holds."""
    if opened.encoding is None:
        return {}
    found: dict[str, str] = {}
    for name in split_names(opened.path, opened.encoding):
        role = SPLITS.get(name.lower())
        if role is not None:
            found.setdefault(role, name)
    return found if "train" in found else {}


def _sign_of_data(frame: pl.DataFrame) -> str | None:
    """What shows that the names of a frame's columns are a row of data."""
    head = frame.head(_LOOK_ROWS)
    return looks_like_data(frame.columns, [cells(head, column) for column in frame.columns])
