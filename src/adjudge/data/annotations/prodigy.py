"""Prodigy: lines of ``db-out``, each with an answer: accept, reject or ignore.

Form: https://prodi.gy/docs/api-interfaces (classification shows one label, choice shows options).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from adjudge.data.annotations.annotated import Answer, Export, Judged, Read, Wanted, judged, plain_fields, text_field

ANSWERS = frozenset(("accept", "reject", "ignore"))
_MARKS = ("_input_hash", "_task_hash", "_view_id", "_session_id", "options", "accept", "spans")
_BESIDE = ("text", "label", "answer", "accept", "options", "html", "priority", "score")


def is_prodigy(columns: Sequence[str], answers: Sequence[Any]) -> bool:
    """Whether columns and the values of ``answer`` are those of Prodigy."""
    return bool(set(_MARKS) & set(columns)) and "answer" in columns and bool(answers) and set(answers) <= ANSWERS


def refuse_rejected(frame: pl.DataFrame, label_columns: Sequence[str], source: str) -> list[str]:
    """What is wrong with a table of Prodigy whose rejected and ignored rows would be taken for labelled ones."""
    if "answer" not in frame.columns or "answer" in label_columns:
        return []
    answers = frame["answer"].cast(pl.String, strict=False).drop_nulls()
    unaccepted = int((answers != "accept").sum())
    if not unaccepted or not is_prodigy(frame.columns, answers.unique().to_list()):
        return []
    return [
        f"{source}: is an export of Prodigy, and {unaccepted:,} of {frame.height:,} rows have the answer reject or "
        "ignore: their label was shown to people, not given by them; take the accepted rows with: "
        f"adjudge import {source} -o tasks"
    ]


def _recognise(records: Sequence[Any]) -> bool:
    if not all(isinstance(record, dict) for record in records):
        return False
    return is_prodigy([name for record in records for name in record], [record.get("answer") for record in records])


@dataclass
class _Text:
    """What was said of one text, by person: the labels that were accepted, and those that were rejected."""

    text: str
    fields: dict[str, Any]
    accepted: dict[str, list[str]] = field(default_factory=dict)
    rejected: dict[str, list[str]] = field(default_factory=dict)


def _read(records: Sequence[Mapping[str, Any]], wanted: Wanted) -> Read:
    key = text_field(records, wanted.text, _BESIDE[1:])
    asked = {str(record["label"]) for record in records if isinstance(record.get("label"), str)}
    several = any((record.get("config") or {}).get("choice_style") == "multiple" for record in records)
    counts = Counter(str(record.get("answer")) for record in records)
    judged(records, text=lambda record: record.get(key), answers=lambda record: [_labels(record)], fields=lambda _: {})
    texts: dict[str, _Text] = {}
    for record in records:
        entry = texts.setdefault(record[key], _Text(record[key], plain_fields(record, (*_BESIDE, key))))
        person = str(record.get("_session_id") or record.get("_annotator_id") or "")
        if record.get("answer") == "accept":
            entry.accepted.setdefault(person, []).extend(_labels(record))
        elif record.get("answer") == "reject" and not isinstance(record.get("accept"), list):
            entry.rejected.setdefault(person, []).extend(_labels(record))
    opposite = f"not {next(iter(asked))}" if len(asked) == 1 else None
    rows = [_judged(entry, opposite, several) for entry in texts.values()]
    return Read(rows, several, tuple(_notes(counts, asked, opposite)))


def _labels(record: Mapping[str, Any]) -> Answer:
    """The labels that a record shows or that were chosen in it."""
    chosen, label = record.get("accept"), record.get("label")
    if isinstance(chosen, list):
        return tuple(map(str, chosen))
    if isinstance(label, str) or record.get("answer") != "accept":
        return (label,) if isinstance(label, str) else ()
    spans = "spans of the text and " if record.get("spans") else ""
    raise ValueError(f"{spans}neither `label` nor `accept`; a text classifier takes labels of whole texts")


def _judged(entry: _Text, opposite: str | None, several: bool) -> Judged:
    answers: list[Answer] = []
    for person in dict.fromkeys([*entry.accepted, *entry.rejected]):
        accepted = tuple(dict.fromkeys(entry.accepted.get(person, ())))
        if accepted or several:
            answers.append(accepted)
        elif opposite is not None and person in entry.rejected:
            answers.append((opposite,))
    return Judged(entry.text, tuple(answers), entry.fields, "whose label was rejected or whose text was ignored")


def _notes(counts: Mapping[str, int], asked: set[str], opposite: str | None) -> list[str]:
    rejected, notes = counts.get("reject", 0), []
    if rejected and opposite is not None:
        notes.append(f"one label was asked about: {rejected:,} rejected rows have the label {opposite!r}")
    elif rejected and len(asked) == 2:
        notes.append(
            f"{rejected:,} rejected rows say what a text is not, and not what it is; if one of the two labels always "
            "applies, give those rows the other one and import again"
        )
    return notes


EXPORT = Export("Prodigy", _recognise, _read)
