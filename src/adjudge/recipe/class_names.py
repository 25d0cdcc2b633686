"""Names of classes, where the data write numbers: from a file beside them, in the forms that such files have."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adjudge.core.errors import DataError
from adjudge.data.files.encodings import find_encoding
from adjudge.data.files.text_lines import first_lines

_NAMES_FILE = re.compile(
    r"(class(es)?|label|category|target)?[_-]?(names?|classes|labels|mapping)\.(txt|json|csv|tsv)"
)


def names_files(path: Path) -> list[Path]:
    """Files beside a data file that may hold the names of its classes."""
    if not path.parent.is_dir():
        return []
    return sorted(file for file in path.parent.iterdir() if _NAMES_FILE.fullmatch(file.name.lower()) and file != path)


def read_names(file: Path) -> dict[str, str] | list[str]:
    """The names of classes in a file: by what the data write where it says so, else in order.

    One name a line, number and name on a line (in either order, by tab, comma, colon or spaces), or JSON: a list, or
    an object of numbers and names.

    Raises:
        DataError: no such file, or nothing of this form in it.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file; it should hold the names of the classes, one a line")
    encoding = find_encoding(file)
    lines = [line.strip() for line in first_lines(file, encoding)]
    if lines and lines[0][:1] in "[{":
        try:
            value: Any = json.loads("\n".join(lines))
        except ValueError as error:
            raise DataError(f"{file.name}: not valid JSON: {error}") from error
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return _different(file, value)
        if isinstance(value, dict):
            pairs = [(str(key), str(item)) for key, item in value.items()]
            return _by_number(file, pairs)
        raise DataError(f"{file.name}: expected a list of names, or an object of numbers and names")
    numbered = [re.fullmatch(r"(\d+)\s*[\s,;:=]\s*(\S.*)|(\S.*?)\s*[\s,;:=]\s*(\d+)", line) for line in lines]
    if lines and all(numbered):
        return _by_number(file, [(m[1] or m[3], m[2] or m[4]) for m in numbered if m])
    return _different(file, lines)


def _by_number(file: Path, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Numbers to names, whichever of the two stands first."""
    turned = pairs if all(key.lstrip("-").isdigit() for key, _ in pairs) else [(name, key) for key, name in pairs]
    _different(file, [name for _, name in turned])
    return dict(turned)


def _different(file: Path, names: Sequence[str]) -> list[str]:
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{file.name}: expected the names of at least two classes, each once, one a line")
    return list(names)


def named_classes(labels: Sequence[str], file: Path) -> tuple[dict[str, str], list[str]]:
    """What the data write -> the name of the class, and what the user should know.

    Names in order are those of 0, 1, … where a label is 0, and of 1, 2, … where the largest label is their number.

    Raises:
        DataError: labels that have no name.
    """
    names = read_names(file)
    notes = []
    if isinstance(names, list):
        numbers = [int(label) if label.isdigit() else None for label in labels]
        known = [number for number in numbers if number is not None]
        first = 1 if known and 0 not in known and max(known) == len(names) else 0
        names = {str(i): name for i, name in enumerate(names, first)}
        if known and first == 0 and 0 not in known:
            shown = ", ".join(f"{label} = {names[label]}" for label in labels[:3] if label in names)
            notes.append(f"no label is 0, and {file.name} is taken to begin with the name of 0: {shown}")
    missing = [label for label in labels if label not in names]
    if missing:
        shown = ", ".join(map(repr, missing[:10]))
        raise DataError(f"{file.name}: has no name for the labels {shown}; it names {', '.join(list(names)[:10])}")
    return {label: names[label] for label in labels}, notes
