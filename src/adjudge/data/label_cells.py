"""How label cells are read: one label, several, lists, scores, a column of 0 and 1 for each label.

A cell may be a list or an object, by the file's own types or written out as text. It becomes the labels that it holds,
or the file is refused with the rows; a list never becomes the name of a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adjudge.core.errors import DataError
from adjudge.core.task import Task
from adjudge.data.structures import is_bracketed, parse_structure

SCORE_ABOVE = 0.5
"""Of scores, the labels whose score lies above this apply."""
LEVELS = " > "
"""Between the levels of a path that is a list, where the task does not say."""
_SHOWN = 10
_SURE = ("choices", "taxonomy", "labels", "label")
_LIKELY = ("name", "choice", "category", "class", "rating", "value", "text")
_NAMES = (*_SURE, *_LIKELY)
_SCORES = ("score", "probability", "confidence")
_BESIDE = frozenset((*_SCORES, "id", "user", "user_id", "annotator", "status", "answer"))
_SPANS = frozenset(("start", "end", "start_offset", "end_offset", "startOffset", "endOffset", "span", "spans"))
_YES, _NO = frozenset(("1", "true", "yes", "y", "x")), frozenset(("0", "false", "no", "n"))

Labels = tuple[str, ...]
"""The labels of one row; none of them where no label applies."""


def read_labels(task: Task, columns: Mapping[str, Sequence[Any]], source: str = "") -> list[str | None]:
    """Each row's labels as one cell, in the form that equal answers share.

    Args:
        task: its problem, its label columns, what its labels are mapped to.
        columns: the label columns: texts, None where nothing is written, or lists and dictionaries.
        source: the file's name, for messages.

    Raises:
        DataError: rows that hold several labels where a text has one, or a structure that says nothing about labels.
    """
    rows = _Rows(f"{source}: column {task.label!r}" if isinstance(task.label, str) else source, task)
    cells = rows.of_cells(columns[task.label]) if isinstance(task.label, str) else rows.of_columns(columns)
    rows.check()
    return cells


def structured_labels(values: Sequence[Any], known: frozenset[str] = frozenset()) -> list[Labels | None] | None:
    """The labels of each row of a column that holds lists or objects; None of a column of plain texts.

    Rows that cannot be read, and those without an answer, are None.
    """
    parsed = _parsed(values, known)
    if not any(isinstance(value, list | dict) for value in parsed):
        return None
    found: list[Labels | None] = []
    for value in parsed:
        try:
            found.append(labels_in(value))
        except ValueError:
            found.append(None)
    return found


def labels_in(value: Any, levels: str = LEVELS) -> Labels | None:
    """The labels that a value holds, each once, in the order in which they are written; None if nobody answered.

    Args:
        value: None, a text, a number, a list, an object with labels or with a score for each label.
        levels: between the levels of a path that is a list inside a list (a taxonomy).

    Raises:
        ValueError: it says nothing about labels; the message completes "holds …".
    """
    if value is None or value != value:
        return None
    if isinstance(value, dict):
        filled = {name for name, inner in value.items() if inner is not None and not _is_number(inner)}
        if filled - {*_NAMES, *_BESIDE} and value.keys() & set(_NAMES):
            raise ValueError(f"an object of {', '.join(map(repr, value))}; name one of its fields, as `column.field`")
        return _labels_of_object(value, levels)
    if not isinstance(value, list | tuple):
        return (_text(value).strip(),) if _text(value).strip() else None
    if value and all(isinstance(item, list | tuple) for item in value):
        return _paths(value, levels)
    found: dict[str, None] = {}
    for item in value:
        found.update(dict.fromkeys(_labels_of_item(item, levels)))
    return None if value and all(item is None or item != item for item in value) else tuple(found)


def _labels_of_item(item: Any, levels: str) -> Labels:
    if isinstance(item, list | tuple):
        raise ValueError(f"a list inside a list of labels ({item!r:.60})")
    if isinstance(item, dict):
        score = next((item[name] for name in _SCORES if _is_number(item.get(name))), None)
        if (score is not None and score <= SCORE_ABOVE) or item.get("status") in ("draft", "discarded"):
            return ()
        return _labels_of_object(item, levels) or ()
    return labels_in(item, levels) or ()


def _labels_of_object(value: dict[str, Any], levels: str) -> Labels | None:
    filled = {name: inner for name, inner in value.items() if inner is not None}
    if not filled:
        return None if value else ()
    if _SPANS & filled.keys():
        raise ValueError("a span of the text; a text classifier takes labels of whole texts")
    name = next((name for name in _NAMES if name in filled), None)
    scored = all(_is_number(inner) for inner in filled.values())
    if scored and name not in _SURE and (name is None or len(filled) > 1):
        wrong = next((label for label, score in filled.items() if not 0 <= score <= 1), None)
        if wrong is None:
            return tuple(label.strip() for label, score in filled.items() if score > SCORE_ABOVE)
        raise ValueError(f"numbers that are no scores from 0 to 1 ({wrong!r}: {filled[wrong]})")
    if name is None:
        raise ValueError(f"an object of {', '.join(map(repr, list(filled)[:8]))}, none of which names a label")
    inner = filled[name]
    return labels_in((parse_structure(inner) if isinstance(inner, str) else None) or inner, levels)


def _paths(value: Sequence[Sequence[Any]], levels: str) -> Labels:
    if not all(isinstance(name, str) for path in value for name in path):
        raise ValueError(f"lists inside a list ({value!r:.60}), as spans of the text have them")
    return tuple(dict.fromkeys(levels.join(name.strip() for name in path) for path in value if path))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value


def _parsed(values: Sequence[Any], known: frozenset[str]) -> list[Any]:
    """Texts that stand for lists and objects as such; what cannot be read as a `ValueError` in its place."""
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    bare = bool(texts) and all(is_bracketed(text) for text in texts)
    read: dict[str, Any] = {}
    for text in dict.fromkeys(texts):
        try:
            read[text] = None if text in known else parse_structure(text, bare=bare or "," in text)
        except ValueError as error:
            read[text] = error
    return [read[value] if isinstance(value, str) and read.get(value) is not None else value for value in values]


class _Rows:
    """Rows of labels on their way to cells, and what is wrong with them, gathered for one error."""

    def __init__(self, where: str, task: Task) -> None:
        self._where = where
        self._problem = task.problem
        self._map = task.label_map
        self._known = frozenset(task.labels or ())
        self._wrong: dict[str, tuple[str, list[int]]] = {}

    def of_cells(self, values: Sequence[Any]) -> list[str | None]:
        """The rows of one column of labels."""
        parsed = _parsed(values, self._known)
        self._refuse_vectors(parsed)
        plain: dict[str, str | None] = {}
        cells: list[str | None] = []
        for row, value in enumerate(parsed, 1):
            if not isinstance(value, str):
                cells.append(self._structured(value, row))
                continue
            if value not in plain:
                plain[value] = self._cell(self._plain(value), row)
            cells.append(plain[value])
        return cells

    def of_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[str | None]:
        """The rows of a column of 0 and 1 for each label; a row with nothing in any of them has no answer."""
        marks = [[_mark(value) for value in values] for values in columns.values()]
        blank_is_no = not any(mark is False for column in marks for mark in column)
        cells: list[str | None] = []
        for row, given in enumerate(zip(*marks, strict=True), 1):
            if "?" in given:
                name = list(columns)[given.index("?")]
                self._add(f"column {name!r} holds {columns[name][row - 1]!r:.40}, which is neither 0 nor 1", row, name)
            answered = blank_is_no or any(mark is not None for mark in given)
            if answered and not blank_is_no and None in given:
                self._add(f"column {list(columns)[given.index(None)]!r} is empty and others are not", row, "empty")
            held = tuple(name for name, mark in zip(columns, given, strict=True) if mark is True)
            cells.append(self._cell(held if answered else None, row))
        return cells

    def check(self) -> None:
        """Raise what is wrong, one problem for each kind of it, with its first rows."""
        if self._wrong:
            raise DataError([f"{self._where} {what}; {_named(rows)}" for what, rows in self._wrong.values()])

    def _add(self, what: str, row: int, kind: str) -> None:
        self._wrong.setdefault(kind, (what, []))[1].append(row)

    def _plain(self, text: str) -> Labels | None:
        if not text.strip():
            return None
        if self._problem.multi:
            return self._problem.split(text) if self._problem.canonical(text) else None
        return (self._problem.canonical(text),)

    def _structured(self, value: Any, row: int) -> str | None:
        levels = str(self._problem.separator) if self._problem.hierarchical else LEVELS
        try:
            if isinstance(value, ValueError):
                raise value
            answer = labels_in(value, levels)
        except ValueError as error:
            self._add(f"holds {error}", row, str(error)[:12])
            return None
        flat = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if self._problem.hierarchical and flat and answer:
            answer = (levels.join(answer),)  # the names of one path, from the top down
        return self._cell(answer, row)

    def _cell(self, answer: Labels | None, row: int) -> str | None:
        """A row's labels, mapped, as one cell."""
        if answer and self._map:
            mapped = (self._map.get(label, label) for label in answer)
            answer = tuple(dict.fromkeys(label for label in mapped if label is not None)) or None
        if answer is None or (not answer and not self._problem.multi):
            return None
        if self._problem.multi:
            held = next((label for label in answer if self._problem.split(label) != (label,)), None)
            if held is not None:
                self._add(
                    f"holds the label {held!r}, in which the separator {self._problem.separator!r} occurs, or which "
                    "stands for none; set `problem: {kind: multi_label, separator: …, none: …}` to others",
                    row,
                    "separator",
                )
            return self._problem.join(answer)
        if len(answer) > 1:
            self._add(
                f"holds several labels for a text ({', '.join(map(repr, answer[:4]))}); if it may, say in the task "
                "`problem: multi_label`, else leave one label in each row",
                row,
                "several",
            )
        return answer[0]

    def _refuse_vectors(self, values: Sequence[Any]) -> None:
        """Refuse lists of as many numbers from 0 to 1 in every row: a mark for each label, whose names are not there.

        Raises:
            DataError: they are such vectors.
        """
        lists = [value for value in values if isinstance(value, list)]
        width = len(lists[0]) if lists else 0
        if len(lists) < 2 or width < 2 or any(len(value) != width for value in lists):
            return
        if all(_is_number(item) and 0 <= item <= 1 for value in lists for item in value):
            raise DataError(
                f"{self._where} holds {width} numbers from 0 to 1 in each row, a mark or a score for each label, and "
                "not the names of the labels; write a column for each label and name them, `label: [first, second, "
                "…]`, or lists of names"
            )


def _mark(value: Any) -> bool | str | None:
    """Yes, no, nothing written (None), or something else (``?``); a number is a score, and -1 is no answer."""
    text = "" if value is None else str(value).strip().lower()
    if text in ("", "-1", "nan"):
        return None
    if text in _YES or text in _NO:
        return text in _YES
    try:
        score = float(text)
    except ValueError:
        return "?"
    return score > SCORE_ABOVE if 0 <= score <= 1 else "?"


def _named(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:_SHOWN]))}{more}"
