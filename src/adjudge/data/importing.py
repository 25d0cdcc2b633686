"""A file of another program as a task: fine-tuning data, or an export of an annotation tool."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import Source
from adjudge.data.annotations import EXPORTS, LOOKED_AT, recognise
from adjudge.data.annotations.annotated import Answer, Judged, Read, Wanted
from adjudge.data.files.encodings import find_encoding, open_text
from adjudge.data.finetuning import DATASET_INFO, import_finetuning, is_finetuning
from adjudge.data.label_columns import separated
from adjudge.data.readers import read_table
from adjudge.data.task_files import ImportedData, write_task

_BINARY = {".spacy": "a DocBin of spaCy; write its texts and cats as JSON lines"}
_JSON = (".json", ".jsonl", ".ndjson")
_SHOWN = 5


def import_data(
    file: Path, folder: Path, *, name: str | None = None, form: str | None = None, wanted: Wanted | None = None
) -> ImportedData:
    """Write ``<folder>/<name>.yaml`` (a task) and ``<folder>/<name>.jsonl`` (its rows).

    Args:
        file: an export of a tool of `adjudge.data.annotations.EXPORTS`, or as `import_finetuning` takes it.
        folder: where to; made if it is not there.
        name: of the task; default: the file's. Of a ``dataset_info.json`` the entry to import.
        form: a key of `EXPORTS`; default: recognised by the content.
        wanted: which field and which question of an export, where it has several.

    Raises:
        DataError: rows that cannot be read, answers that are no labels, or a file that is no export.
        UsageError: a file to be written is there, or a name is needed.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if form is None and file.name == DATASET_INFO:
        return import_finetuning(file, folder, name=name)
    records = load_records(file)
    if form is None and is_finetuning(records):
        return import_finetuning(file, folder, name=name)
    form = form or recognise(records)
    if form is None:
        raise DataError(
            f"{file.name}: is no export that is known ({', '.join(EXPORTS)}) and no fine-tuning data; say which one "
            f"with --from; a table of texts and labels needs no import: adjudge init {file}"
        )
    export = EXPORTS[form]
    try:
        read = export.read(records, wanted or Wanted())
    except (DataError, UsageError) as error:
        raise type(error)([f"{file.name} ({export.title}): {problem}" for problem in error.problems]) from error
    return _write(file, folder, name or file.name.split(".")[0], export.title, read)


def needs_import(file: Path) -> bool:
    """Whether a JSON file is an export whose rows are no texts and labels as they stand; its beginning says so."""
    if _suffix(file) not in _JSON or not file.is_file():
        return False
    try:
        with open_text(file, find_encoding(file)) as stream:
            head = [line for line in islice(stream, LOOKED_AT) if line.strip()]
        records = load_records(file) if _is_one_value(head) else _lines(file, head)
    except (DataError, UsageError):
        return False
    form = recognise(records)
    return form is not None and not EXPORTS[form].is_table(records)


def _is_one_value(lines: Sequence[str]) -> bool:
    """Whether a file is one JSON value over its lines, not one in each."""
    try:
        return isinstance(json.loads(lines[0]), list) and len(lines) == 1
    except (ValueError, RecursionError, IndexError):
        return True


def load_records(file: Path) -> list[Any]:
    """The records of a file: of JSON its list or its lines, of a table its rows.

    Raises:
        DataError: the file cannot be read.
    """
    if _suffix(file) in _BINARY:
        raise DataError(f"{file.name}: is {_BINARY[_suffix(file)]}")
    if _suffix(file) not in _JSON:
        return read_table(Source(path=str(file))).frame.to_dicts()
    with open_text(file, find_encoding(file)) as stream:
        text = stream.read()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _lines(file, text.splitlines())
    return value if isinstance(value, list) else [value]


def _suffix(file: Path) -> str:
    return next((suffix.lower() for suffix in reversed(file.suffixes) if suffix.lower() != ".gz"), "")


def _lines(file: Path, lines: Iterable[str]) -> list[Any]:
    records, problems = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                problems.append(f"{file.name}: line {number}: not valid JSON: {error}")
    if problems:
        more = [f"{file.name}: and {len(problems) - _SHOWN} lines more"] if len(problems) > _SHOWN else []
        raise DataError([*problems[:_SHOWN], *more])
    return records


def _write(file: Path, folder: Path, name: str, title: str, read: Read) -> ImportedData:
    several = read.several or any(len(answer) > 1 for row in read.rows for answer in row.answers)
    kept: list[tuple[Judged, Answer]] = []
    left_out: Counter[str] = Counter()
    united = 0
    for row in read.rows:
        answer, reason = _one_answer(row, several)
        if answer is None:
            left_out[reason] += 1
        else:
            kept.append((row, answer))
            united += len(set(map(frozenset, row.answers))) > 1
    labels = Counter(label for _, answer in kept for label in answer)
    if len(labels) < 2:
        raise DataError(
            f"{file.name} ({title}): {len(labels)} different labels in {len(kept)} rows with an answer; a "
            "classification needs at least two" + _counted(left_out)
        )
    task: dict[str, Any] = {"labels": [label for label, _ in labels.most_common()]}
    if several:
        task = {"problem": separated(list(labels)).model_dump(exclude_none=True), **task}
    rows = [
        {"text": row.text, "label": list(answer) if several else answer[0]}
        | {key: value for key, value in row.fields.items() if key not in ("text", "label")}
        for row, answer in kept
    ]
    ids = {row["id"] for row in rows if "id" in row}
    if len(ids) == len(rows):
        task["id"] = "id"
    notes = [*read.notes]
    if left_out:
        notes.append(f"left out: {_counted(left_out).removeprefix('; ')}")
    if united:
        rows_have = "row has" if united == 1 else "rows have"
        notes.append(f"{united:,} {rows_have} answers that differ; the most frequent one was taken")
    return write_task(folder, name, task, rows, form=title, notes=tuple(notes))


def _one_answer(row: Judged, several: bool) -> tuple[Answer | None, str]:
    """The answer that most people gave, or None and why there is none."""
    if not row.text.strip():
        return None, "without text"
    answers = [tuple(sorted(set(answer))) for answer in row.answers if answer or several]
    if not answers:
        return None, row.left_out
    (first, votes), *others = Counter(answers).most_common()
    if others and others[0][1] == votes:
        return None, "on which people disagree evenly"
    return first, ""


def _counted(left_out: Counter[str]) -> str:
    parts = [f"{count:,} row{'s' if count != 1 else ''} {reason}" for reason, count in left_out.most_common()]
    return f"; {', '.join(parts)}" if parts else ""
