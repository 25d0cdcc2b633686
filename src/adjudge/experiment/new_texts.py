"""How a file of new texts is read, where the user does not say it: by its content, and as the run's own data was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adjudge.core.errors import DataError
from adjudge.core.task import Source, Task
from adjudge.data.files.encodings import Encoding, find_encoding
from adjudge.data.files.formats import is_table
from adjudge.data.files.json_rows import json_format
from adjudge.data.files.layout import find_layout
from adjudge.data.files.text_lines import first_lines, pattern_of
from adjudge.data.readers import format_by_name, is_text_file

TEXT_COLUMN = "text"


def reading_of(
    source: Source, task: Task, config: Mapping[str, Any], labels: Sequence[str]
) -> tuple[Source, tuple[str, ...] | None]:
    """The source with what has to be said about it, and the text columns that it has by that (None: the task's).

    A ``.txt`` file, or one whose name says nothing, holds a text on each line unless it is JSON, a table, or lines
    with one of the task's labels each. A table is read without a header where the run's own was, unless its first row
    names the text column. Columns that the run's file called otherwise may be called so here too.

    Args:
        source: the file, and what is said about it.
        task: the run's, with the text columns that are wanted.
        config: the run's resolved config.
        labels: the classifier's.
    """
    path = Path(source.path)
    if not path.is_file() or not is_text_file(path, source):
        return source, None
    trained = (config.get("data") or {}).get("train") or {}
    named = source.format or format_by_name(path)
    if named in ("csv", "tsv"):
        return _as_trained(source, task, trained, path), None
    if source.format == "text":
        return source, (TEXT_COLUMN,)
    if source.format is None and named in ("lines", None):
        return _of_lines(source, task, trained, labels)
    return source, None


def _of_lines(
    source: Source, task: Task, trained: Mapping[str, Any], labels: Sequence[str]
) -> tuple[Source, tuple[str, ...] | None]:
    path = Path(source.path)
    lines = first_lines(path, _encoding(path, source))
    if (
        json_format(lines[:2], None)
        or _names_text(lines, task)
        or (source.delimiter is None and is_table(lines, source))
    ):
        return source, None
    own = {key: trained.get(key) for key in ("delimiter", "pattern") if trained.get("format") == "lines"}
    for options in (own, {"delimiter": source.delimiter}):
        as_lines = source.model_copy(update={**options, "format": "lines"})
        known = sum(_label(line, as_lines) in {*labels, *task.label_map} for line in lines)
        if 2 * known > len(lines):
            return as_lines, None
    return source.model_copy(update={"format": "text"}), (TEXT_COLUMN,)


def _names_text(lines: Sequence[str], task: Task) -> bool:
    """Whether the first line is a header with the task's text columns."""
    cells = {cell.strip(' "') for cell in re.split(r"[,;|\t]", lines[0])} if lines else set()
    return len(cells) > 1 and set(task.text_columns) <= cells


def _label(line: str, source: Source) -> str | None:
    match = pattern_of(source).fullmatch(line)
    return match["label"] if match is not None and "label" in match.groupdict() else None


def _as_trained(source: Source, task: Task, trained: Mapping[str, Any], path: Path) -> Source:
    """The source with the header and the column names of the run's own file, where it fits these."""
    columns = trained.get("columns") or {}
    headerless = trained.get("header") is False and source.header is True
    if not headerless and not columns:
        return source
    try:
        names = find_layout(path, source, _encoding(path, source)).names
    except DataError:  # a first row that cannot be a header; else the reader says it again
        names = ()
    if headerless and not set(task.text_columns) <= set(names):
        return source.model_copy(update={"header": False})
    fitting = {wanted: own for wanted, own in columns.items() if own in names and wanted not in names}
    return source.model_copy(update={"columns": {**fitting, **source.columns}})


def _encoding(path: Path, source: Source) -> Encoding:
    return find_encoding(path, source.encoding, lenient=source.skip_bad_rows > 0)
