"""Label Studio: JSON with annotations, and the tables JSON-MIN, CSV and TSV with a column for each control.

Form: https://labelstud.io/guide/export (annotations, their results, what a cancelled one means).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adjudge.core.errors import DataError
from adjudge.data.annotations.annotated import (
    Answer,
    Export,
    Judged,
    Read,
    Wanted,
    choose,
    judged,
    plain_fields,
    text_field,
)
from adjudge.data.label_cells import labels_in
from adjudge.data.structures import parse_structure

_KINDS = ("choices", "taxonomy", "rating", "number")
_KEEPING = frozenset(
    (
        "id",
        "annotation_id",
        "annotator",
        "completed_by",
        "created_at",
        "updated_at",
        "lead_time",
        "inner_id",
        "agreement",
    )
)


def _is_json(records: Sequence[Any]) -> bool:
    return all(
        isinstance(record, dict)
        and isinstance(record.get("data"), dict)
        and ("annotations" in record or "completions" in record)
        for record in records
    )


def _read_json(records: Sequence[Mapping[str, Any]], wanted: Wanted) -> Read:
    key = text_field([record["data"] for record in records], wanted.text)
    controls = [result["from_name"] for record in records for result in _results(record)]
    if not controls:
        kinds = sorted({str(result.get("type")) for record in records for result in _results(record, any_kind=True)})
        other = f"results of the kind {', '.join(kinds)}, as of spans," if kinds else "no results"
        raise DataError(f"holds {other} and no choice for a text as a whole")
    control = choose(wanted.label, controls, "control", "--label")
    rows = judged(
        records,
        text=lambda record: record["data"].get(key),
        answers=lambda record: [_answer(annotation, control) for annotation in _annotations(record)],
        fields=lambda record: plain_fields({"id": record.get("id"), **record["data"]}, (key,)),
    )
    return Read(rows)


def _annotations(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What people submitted; skipped tasks are cancelled annotations."""
    made = record.get("annotations") or record.get("completions") or []
    return [one for one in made if isinstance(one, dict) and not one.get("was_cancelled")]


def _results(record: Mapping[str, Any], any_kind: bool = False) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = [
        result for one in _annotations(record) for result in one.get("result") or () if isinstance(result, dict)
    ]
    return (
        found if any_kind else [result for result in found if result.get("type") in _KINDS and "from_name" in result]
    )


def _answer(annotation: Mapping[str, Any], control: str) -> Answer:
    """The labels that one annotation gives by a control; none where it leaves the control alone."""
    chosen: list[str] = []
    for result in annotation.get("result") or ():
        if result.get("from_name") == control and result.get("type") in _KINDS:
            value = result.get("value") or {}
            if "start" in value:
                raise ValueError("a choice for a part of the text; a text classifier takes labels of whole texts")
            chosen += labels_in({"choices": value.get(result["type"])}) or ()
    return tuple(dict.fromkeys(chosen))


def _is_table(records: Sequence[Any]) -> bool:
    if not all(isinstance(record, dict) for record in records):
        return False
    names = {name for record in records for name in record}
    return "annotation_id" in names or {"annotator", "lead_time"} <= names or bool(_with_choices(records))


def _with_choices(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns in which a cell holds choices, as an object or its text."""
    found: dict[str, None] = {}
    for record in records:
        for name, value in record.items():
            if "choices" in value if isinstance(value, dict) else str(value).startswith('{"choices"'):
                found[name] = None
    return list(found)


def _read_table(records: Sequence[Mapping[str, Any]], wanted: Wanted) -> Read:
    key = text_field(records, wanted.text, _KEEPING)
    names = [
        name for name in dict.fromkeys(name for record in records for name in record) if name not in (*_KEEPING, key)
    ]
    column = choose(wanted.label, _with_choices(records) or names, "column", "--label")
    left = (*(_KEEPING - {"id"}), key, column)
    rows = judged(
        records,
        text=lambda record: record.get(key),
        answers=lambda record: [labels_in(_value(record.get(column)))],
        fields=lambda record: plain_fields(record, left),
    )
    # One row for each annotation: those of one task are opinions about one text.
    tasks: dict[Any, Judged] = {}
    for number, (record, row) in enumerate(zip(records, rows, strict=True)):
        task = record.get("id", f"row {number}")
        before = tasks[task].answers if task in tasks else ()
        tasks[task] = replace(row, answers=before + row.answers)
    return Read(list(tasks.values()))


def _value(cell: Any) -> Any:
    return (parse_structure(cell) if isinstance(cell, str) else None) or cell


EXPORT = Export("Label Studio, JSON", _is_json, _read_json)
TABLE = Export("Label Studio, JSON-MIN or CSV", _is_table, _read_table, is_table=lambda records: True)
