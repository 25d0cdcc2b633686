"""What an import writes: a task and its rows as JSON lines beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adjudge.core.atomic import write_text
from adjudge.core.config import to_yaml
from adjudge.core.errors import UsageError


@dataclass(frozen=True)
class ImportedData:
    """What an import wrote.

    Attributes:
        task: the task file.
        rows_file: the rows, as JSON lines with ``text`` and ``label``.
        rows: how many.
        labels: the labels that occur, most frequent first.
        form: what the file was, where it was an export of an annotation tool.
        notes: what was left out, and how several opinions became one; one sentence each.
    """

    task: Path
    rows_file: Path
    rows: int
    labels: tuple[str, ...]
    form: str = ""
    notes: tuple[str, ...] = ()


def write_task(
    folder: Path, name: str, task: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], **told: Any
) -> ImportedData:
    """Write ``<folder>/<name>.yaml`` and ``<folder>/<name>.jsonl``.

    Args:
        folder: where to; made if it is not there.
        name: of the task; characters that a name may not hold become dashes.
        task: its keys besides name, columns and data, ``labels`` among them.
        rows: with ``text`` and ``label``.
        told: the other attributes of `ImportedData`.

    Raises:
        UsageError: one of the files is there. Nothing is written then.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:80] or "imported"
    task_file, rows_file = folder / f"{stem}.yaml", folder / f"{stem}.jsonl"
    for path in (task_file, rows_file):
        if path.exists():
            raise UsageError(f"{path}: is there already and is not overwritten; name another folder or --name")
    write_text(rows_file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    head = {"name": stem, "text": "text", "label": "label"}
    write_text(task_file, to_yaml({**head, **task, "data": {"train": rows_file.name}}))
    return ImportedData(task_file, rows_file, len(rows), tuple(task["labels"]), **told)
