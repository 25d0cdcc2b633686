"""doccano: lines with a list of labels; in its first versions a list of annotations.

Form: https://doccano.github.io/doccano (export of text classification projects).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adjudge.data.annotations.annotated import Export, Read, Wanted, choose, judged, plain_fields, text_field
from adjudge.data.label_cells import labels_in

_COLUMNS = ("label", "labels", "annotations")
_KEEPING = ("Comments", "entities", "relations", "annotation_approver")


def _recognise(records: Sequence[Any]) -> bool:
    return all(
        isinstance(record, dict)
        and {"text", "data"} & record.keys()
        and any(isinstance(record.get(name), list) for name in _COLUMNS)
        for record in records
    )


def _read(records: Sequence[Mapping[str, Any]], wanted: Wanted) -> Read:
    names = [name for name in _COLUMNS if any(isinstance(record.get(name), list) for record in records)]
    column = choose(wanted.label, names, "column of labels", "--label")
    key = text_field(records, wanted.text, _KEEPING)
    rows = judged(
        records,
        text=lambda record: record.get(key),
        answers=lambda record: [labels_in(record.get(column)) or None],  # an empty list is a text that nobody labelled
        fields=lambda record: plain_fields(record, (key, column, *_KEEPING)),
    )
    return Read(rows)


EXPORT = Export("doccano", _recognise, _read, is_table=lambda records: True)
