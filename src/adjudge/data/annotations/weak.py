"""Weak supervision as Snorkel has it: a column of whole numbers for each labelling function, where -1 abstains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adjudge.core.errors import UsageError
from adjudge.data.annotations.annotated import Export, Read, Wanted, judged, plain_fields, text_field

ABSTAIN = "-1"
_LABELS = ("label", "labels", "y", "gold", "target", "pred", "preds", "prediction")


def _recognise(records: Sequence[Any]) -> bool:
    """Two columns at least in which someone abstains, or one that is called a labelling function's."""
    if not all(isinstance(record, dict) for record in records):
        return False
    voting = _votes(records)
    return len(voting) > 1 or any(name.lower().startswith("lf_") for name in voting)


def _votes(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns of whole numbers from -1 on, with -1 among them."""
    found = []
    for name in dict.fromkeys(name for record in records for name in record):
        values = {_vote(record.get(name)) for record in records}
        if ABSTAIN in values and all(value == ABSTAIN or value.isdecimal() for value in values):
            found.append(name)
    return found


def _vote(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or isinstance(value, bool) else str(value).strip()


def _read(records: Sequence[Mapping[str, Any]], wanted: Wanted) -> Read:
    names = list(dict.fromkeys(name for record in records for name in record))
    column = wanted.label or next((name for name in _LABELS if name in names), None)
    if column is None or column not in names:
        lacking = f"no column {column!r}" if column else "no column is called label"
        raise UsageError(
            f"{lacking}: votes of labelling functions are no labels yet; name the column of the label model's answers "
            "with --label"
        )
    key = text_field(records, wanted.text, (column,))
    rows = judged(
        records,
        text=lambda record: record.get(key),
        answers=lambda record: [None if (vote := _vote(record.get(column))) in ("", ABSTAIN) else (vote,)],
        fields=lambda record: plain_fields(record, (key, column)),
        left_out="with -1, where every function abstains",
    )
    return Read(rows)


EXPORT = Export("weak supervision", _recognise, _read, is_table=lambda records: True)
