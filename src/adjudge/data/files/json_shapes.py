"""The shapes that JSON tables have, as records: one object a row, whatever program wrote them.

A list of objects; rows without names; texts alone; an object of columns; the orientations of pandas (`split`, `index`,
`columns`, `values`, `table`); an object that holds the list under one key; an object of splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adjudge.core.errors import DataError, did_you_mean
from adjudge.data.files.headers import is_known, numbered_names

SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""What files and columns call the splits."""
Rows = list[Any]


def rows_of(value: Any, name: str, split: str | None, role: str | None) -> Rows:
    """The rows that a JSON value holds; each should be an object, which the caller checks.

    Args:
        value: what was parsed.
        name: the file's, for messages.
        split: the split that the source names, or None.
        role: the split that is wanted where the source names none; None: whichever the file has, if it has one.

    Raises:
        DataError: a shape that is no table, no rows, columns of unlike length, or a split that is not there.
    """
    if isinstance(value, dict) and (splits := splits_of(value)):
        value = splits[_wanted(name, splits, split, role)]
    elif split is not None:
        raise DataError(f"{name}: has no splits by name, but `split: {split}` asks for one; leave it out")
    rows = _unwrapped(value, name) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise DataError(f"{name}: expected a list of objects or an object of columns, found {kind(value)}")
    if not rows:
        raise DataError(f"{name}: the list is empty: no rows")
    return as_records(rows)


def as_records(rows: Sequence[Any]) -> Rows:
    """Lists and texts as objects: ``column_1``, ``column_2``, … (or the first list's names), and ``text``."""
    if all(isinstance(row, str) for row in rows):
        return [{"text": row} for row in rows]
    if not all(isinstance(row, list) for row in rows) or not rows[0]:
        return list(rows)
    first = rows[0]
    named = len(rows) > 1 and all(isinstance(cell, str) for cell in first) and any(map(is_known, first))
    names = first if named and len(set(first)) == len(first) else numbered_names(len(first))
    rows = rows[1:] if names is first else rows
    return [dict(zip(names, row, strict=True)) if len(row) == len(names) else row for row in rows]


def splits_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """The splits of an object of them, such as ``{"train": [...], "test": [...]}``; empty where it is none."""
    rows = {name: part for name, part in value.items() if _is_rows(part)}
    if any(name.lower() in SPLITS for name in rows):
        return rows
    return {}


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict | list) for row in value)


def _wanted(name: str, splits: Mapping[str, Any], split: str | None, role: str | None) -> str:
    if split is not None and split in splits:
        return split
    if split is None:
        fitting = [key for key in splits if role is not None and SPLITS.get(key.lower()) == role]
        if len(fitting) == 1 or (role is None and len(splits) == 1):
            return fitting[0] if fitting else next(iter(splits))
    asked = f"no split {split!r}" if split is not None else f"holds {len(splits)} splits and none is asked for by name"
    raise DataError(f"{name}: {asked}; choose with `split`; {did_you_mean(split or '', splits)}")


def _unwrapped(value: Mapping[str, Any], name: str) -> Any:
    """The rows of an object: the shapes of pandas, columns, or a list under one of its keys."""
    if isinstance(value.get("data"), list):
        if isinstance(value.get("columns"), list):
            columns = [str(column) for column in value["columns"]]
            return [_zipped(columns, row) for row in value["data"]]
        if isinstance(value.get("schema"), dict):
            return value["data"]
    lists = {key: part for key, part in value.items() if isinstance(part, list)}
    tables = [part for part in lists.values() if _is_rows(part)]
    if len(tables) == 1 and not any(part for part in lists.values() if part is not tables[0]):
        return tables[0]
    if value and len(lists) == len(value):
        return _columns(lists, name)
    if value and all(isinstance(part, dict) and part for part in value.values()):
        return _nested(value, name)
    if value and not any(isinstance(part, dict | list) for part in value.values()):
        return [value]  # one record
    return value


def _zipped(columns: Sequence[str], row: Any) -> Any:
    fits = isinstance(row, list) and len(row) == len(columns)
    return dict(zip(columns, row, strict=True)) if fits else row


def _columns(lists: Mapping[str, Sequence[Any]], name: str) -> Rows:
    lengths = {key: len(column) for key, column in lists.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise DataError(f"{name}: columns of unlike length ({shown}); every column needs the same rows")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _nested(value: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    """An object of objects: rows by key, each with its columns, or columns, each with its rows by key."""
    inner = list(dict.fromkeys(key for part in value.values() for key in part))
    outer_counts, inner_counts = _counts(value), _counts(inner)
    if len(value) == 1 and not inner_counts:
        return _unwrapped(next(iter(value.values())), name)
    if outer_counts == inner_counts and len(value) == len(inner):
        raise DataError(
            f"{name}: an object of objects in which rows and columns cannot be told apart; write a list of objects"
        )
    rows_inside = inner_counts if outer_counts != inner_counts else len(inner) > len(value)
    if rows_inside:
        return [_keyed(key, inner, {column: value[column].get(key) for column in value}) for key in inner]
    return [_keyed(key, list(value), part) for key, part in value.items()]


def _counts(keys: Any) -> bool:
    """Whether keys are row numbers: whole numbers."""
    return all(str(key).lstrip("-").isdigit() for key in keys)


def _keyed(key: str, keys: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its key as a column ``index``, unless keys only count the rows."""
    counted = list(keys) == [str(i) for i in range(len(keys))]
    return dict(row) if counted or "index" in row else {"index": key, **row}


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
