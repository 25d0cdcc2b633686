"""Names of columns: whether the first row holds them, and which names say what a column is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adjudge.core.errors import DataError
from adjudge.data.files.survey import is_number

TEXT_NAMES = ("text", "review", "body", "content", "message", "comment", "tweet", "sentence", "question", "title")
LABEL_NAMES = ("label", "class", "category", "sentiment", "target", "rating", "stars", "intent", "topic", "emotion")
_KNOWN = frozenset((*TEXT_NAMES, *LABEL_NAMES, "id", "labels", "texts", "split", "document", "sentence1", "index"))
_LOOK_ROWS = 1_000
_NEVER_NAMES = re.compile(r"\d{4}-\d\d-\d\d|https?://|[^@\s]+@[^@\s]+\.\w+$")


def column_names(header: Sequence[str], file: str) -> list[str]:
    """Names from a header row; an empty one (row numbers of data frames have none) becomes ``column_<position>``.

    Raises:
        DataError: a name that is given twice.
    """
    names = [name.strip("\ufeff \t\r\n") or f"column_{i}" for i, name in enumerate(header, 1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            f"{file}: the header repeats {', '.join(map(repr, repeated))}; make the names differ, or say that there "
            "is none (`header: false`)"
        )
    return names


def numbered_names(width: int) -> list[str]:
    """Names of the columns of a file without a header: ``column_1`` and so on."""
    return [f"column_{i}" for i in range(1, width + 1)]


def is_known(name: str) -> bool:
    """Whether a name is one that columns often have."""
    return name.strip().lower() in _KNOWN


def looks_like_data(names: Sequence[str], columns: Sequence[Sequence[str | None]]) -> str | None:
    """What shows that the first row holds data and no names; None if nothing does.

    Long texts show nothing: surveys have whole questions as names.

    Args:
        names: the cells of the first row.
        columns: for each, the cells below it.
    """
    counted = names[1:] if names[:1] in ([""], ["column_1"]) else names
    if list(counted) == [str(i) for i in range(len(counted))]:
        return None  # numbers that data frames give to columns without names
    for name, column in zip(names, columns, strict=True):
        cells = [cell for cell in column[:_LOOK_ROWS] if cell]
        if len(cells) < 2 or name.startswith("column_"):
            continue
        if name in cells and 2 * len(set(cells)) <= len(cells):
            return f"{name!r} is also a value of its column"
        if is_number(name) and all(map(is_number, cells)):
            return f"{name!r} is a number, as all below it"
        shape = _shape(name)
        if any(map(str.isdigit, name)) and len(cells) >= 3 and all(_shape(cell) == shape for cell in cells):
            return f"{name!r} is written as all below it"
        if _NEVER_NAMES.match(name):
            return f"{name!r} is no name"
    return None


def _shape(cell: str) -> str:
    """A cell with every digit as 9."""
    return re.sub(r"\d", "9", cell)
