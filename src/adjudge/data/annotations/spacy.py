"""spaCy: texts with ``cats``, a score from 0 to 1 for each category; a score above 0.5 means that it applies.

Form: https://spacy.io/api/data-formats (``cats``; pairs of a text and its annotations; ``paragraphs`` of version 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adjudge.data.annotations.annotated import Export, Read, Wanted, judged, plain_fields
from adjudge.data.label_cells import labels_in
from adjudge.data.structures import parse_structure


def _recognise(records: Sequence[Any]) -> bool:
    return all(
        _is_pair(record) or (isinstance(record, dict) and {"cats", "paragraphs"} & record.keys()) for record in records
    )


def _is_pair(record: Any) -> bool:
    return (
        isinstance(record, list)
        and len(record) == 2
        and isinstance(record[0], str)
        and isinstance(record[1], dict)
        and "cats" in record[1]
    )


def _read(records: Sequence[Any], wanted: Wanted) -> Read:
    entries = [entry for record in records for entry in _texts(record, wanted.text or "text")]
    rows = judged(
        entries,
        text=lambda entry: entry[0],
        answers=lambda entry: [labels_in(_scores(entry[1]))],
        fields=lambda entry: entry[2],
        left_out="without a category",
    )
    return Read(rows)


def _texts(record: Any, key: str) -> Iterator[tuple[Any, Any, Mapping[str, Any]]]:
    if isinstance(record, list):
        yield record[0], record[1].get("cats"), {}
    elif "paragraphs" in record:
        for paragraph in record["paragraphs"]:
            yield paragraph.get("raw"), paragraph.get("cats"), {}
    else:
        yield record.get(key), record.get("cats"), plain_fields(record, (key,))


def _scores(cats: Any) -> Any:
    """Version 2 writes a list of labels with their values."""
    if isinstance(cats, str):
        cats = parse_structure(cats)
    if isinstance(cats, list) and all(isinstance(one, dict) and {"label", "value"} <= one.keys() for one in cats):
        return {str(one["label"]): one["value"] for one in cats}
    return cats


EXPORT = Export("spaCy", _recognise, _read, is_table=lambda records: all("cats" in record for record in records))
