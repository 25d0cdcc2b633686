"""The format of a text file, by its content where its name does not say it or says something else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.encodings import Encoding
from adjudge.data.files.forms import line_form
from adjudge.data.files.headers import is_known
from adjudge.data.files.json_rows import json_format
from adjudge.data.files.layout import DELIMITERS, fit
from adjudge.data.files.text_lines import first_lines

_MOST_LINES = 2


def text_format(path: Path, source: Source, encoding: Encoding, suffix: str | None, formats: Collection[str]) -> str:
    """The format of a text file whose source names none.

    Args:
        path: the file.
        source: what is said about it.
        encoding: its encoding.
        suffix: the format that its name says, or None.
        formats: all formats, for the message.

    Raises:
        DataError: name and content do not tell it.
    """
    lines = first_lines(path, encoding)
    if source.label_file is not None:
        return "text"
    if found := json_format(lines[:_MOST_LINES], suffix):
        return found
    if suffix == "lines" and not is_table(lines, source):
        return "lines"
    if suffix is not None:
        return "csv" if suffix == "lines" else suffix
    delimiters = [source.delimiter] if source.delimiter else DELIMITERS
    if len(lines) > 1 and any(fit([f"{line}\n" for line in lines], each, source) == (True, 1) for each in delimiters):
        return "csv"
    form = line_form(lines)
    hint = f" ({form.hint})" if form else ""
    raise DataError(
        f"{path.name}: the name and content do not say which format this is; set `format`: {', '.join(formats)}{hint}"
    )


def is_table(lines: Sequence[str], source: Source) -> bool:
    """Whether the lines of a ``.txt`` file are a table: equally many tabs, or a header with a usual name."""
    if source.delimiter is not None or not lines:
        return False
    ended = [f"{line}\n" for line in lines]
    for delimiter in DELIMITERS:
        header = [cell.strip(' "') for cell in lines[0].split(delimiter)]
        if len(header) > 1 and any(map(is_known, header)) and fit(ended, delimiter, source)[1] > 0.9:
            return True
    tabs = {line.count("\t") for line in lines}
    return len(tabs) == 1 and tabs != {0} and not all(";" in line for line in lines)
