"""Argilla: records with responses, nested (``to_json``) or flat (``to_datasets``), and those of its first versions.

Form: https://docs.argilla.io (records: fields, responses, suggestions). Suggestions are a model's and no answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adjudge.data.annotations.annotated import Answer, Export, Read, Wanted, choose, judged, plain_fields, text_field
from adjudge.data.label_cells import labels_in

_FLAT = ".responses"
_UNSENT = ("draft", "discarded", "pending")
_KEEPING = (
    "id",
    "status",
    "_server_id",
    "external_id",
    "inputs",
    "prediction",
    "annotation",
    "search_keywords",
    "event_timestamp",
)


def _recognise(records: Sequence[Any]) -> bool:
    return all(isinstance(record, dict) for record in records) and (
        all("fields" in record and "responses" in record for record in records)
        or any(name.endswith((_FLAT, ".suggestion")) for record in records for name in record)
        or any(name.endswith("-suggestion") for record in records for name in record)
        or all("annotation" in record and {"inputs", "prediction"} & record.keys() for record in records)
    )


def _read(records: Sequence[Mapping[str, Any]], wanted: Wanted) -> Read:
    questions = list(dict.fromkeys(name for record in records for name in _responses(record)))
    question = choose(wanted.label, questions, "question", "--label")
    beside = [name for record in records for name in record if name.startswith(f"{question}.")]
    key = text_field([_fields(record) for record in records], wanted.text, (*_KEEPING, *beside))
    left = (key, *_KEEPING, *beside)
    rows = judged(
        records,
        text=lambda record: _fields(record).get(key),
        answers=lambda record: list(_answers(_responses(record).get(question) or ())),
        fields=lambda record: {
            **plain_fields({"id": record.get("id")}, ()),
            **plain_fields(_fields(record), left),
            **plain_fields(record.get("metadata") or {}, left),
        },
        left_out="without a submitted response",
    )
    return Read(rows)


def _fields(record: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = record.get("fields", record.get("inputs"))
    return nested if isinstance(nested, dict) else record


def _responses(record: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Question -> responses, each with its value and status."""
    if isinstance(record.get("responses"), dict):
        return {name: given or () for name, given in record["responses"].items()}
    if "annotation" in record:
        status = str(record.get("status", "")).lower()
        return {"annotation": [{"value": record["annotation"], "status": status}]}
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for name, value in record.items():
        if name.endswith(_FLAT):
            statuses = record.get(f"{name}.status") or ["submitted"] * len(value or ())
            found[name.removesuffix(_FLAT)] = [
                {"value": one, "status": status} for one, status in zip(value or (), statuses, strict=True)
            ]
        elif isinstance(value, list) and f"{name}-suggestion" in record:
            found[name] = value
    return found


def _answers(responses: Sequence[Mapping[str, Any]]) -> Iterator[Answer]:
    for response in responses:
        if str(response.get("status") or "submitted").lower() not in _UNSENT:
            labels = labels_in(response.get("value"))
            if labels is not None:
                yield labels


EXPORT = Export("Argilla", _recognise, _read)
