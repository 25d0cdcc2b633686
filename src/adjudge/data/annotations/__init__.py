"""Exports of annotation tools as tasks: what people accepted becomes a label, what they rejected does not.

Adding a tool is one file with an `Export` and one line in `EXPORTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adjudge.data.annotations import argilla, doccano, label_studio, prodigy, spacy, weak
from adjudge.data.annotations.annotated import Export

EXPORTS: dict[str, Export] = {
    "label-studio": label_studio.EXPORT,
    "label-studio-table": label_studio.TABLE,
    "prodigy": prodigy.EXPORT,
    "argilla": argilla.EXPORT,
    "spacy": spacy.EXPORT,
    "doccano": doccano.EXPORT,
    "weak": weak.EXPORT,
}
"""Every tool, in the order in which a file is asked whether it is one of its exports."""

LOOKED_AT = 200
"""Records that are looked at to tell what a file is."""


def recognise(records: Sequence[Any]) -> str | None:
    """The name of the export that these records are, or None."""
    head = records[:LOOKED_AT]
    return next((name for name, export in EXPORTS.items() if head and export.recognise(head)), None)
