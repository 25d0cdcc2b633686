"""Fine-tuning data of other programs as task and rows: OpenAI's JSON lines, LLaMA-Factory's ``dataset_info.json``.

Such files hold conversations; a classification is one question with one of few answers. What all rows share (the
system prompt, the instruction) becomes the task's; the question is the text and the answer is the label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adjudge.core.errors import DataError, UsageError, did_you_mean
from adjudge.core.task import Source
from adjudge.data.readers import read_table
from adjudge.data.task_files import ImportedData, write_task

DATASET_INFO = "dataset_info.json"
_SHOWN = 10
# More different answers than this, most of them seen once, are no label set.
_FEW_LABELS = 20
_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True)
class Row:
    """One question and its answer.

    Attributes:
        text: what is asked about.
        label: the answer.
        instruction: what is to be done, where it is apart from the text.
        system: the system prompt, or an empty string.
    """

    text: str
    label: str
    instruction: str = ""
    system: str = ""


def is_finetuning(records: Sequence[Any]) -> bool:
    """Whether records are fine-tuning data of OpenAI's form."""
    return any(
        isinstance(one, dict) and ("messages" in one or {"prompt", "completion"} <= one.keys()) for one in records
    )


def import_finetuning(file: Path, folder: Path, *, name: str | None = None) -> ImportedData:
    """Write ``<folder>/<name>.yaml`` (a task) and ``<folder>/<name>.jsonl`` (its rows).

    Args:
        file: OpenAI fine-tuning JSON lines (``messages``, or ``prompt`` and ``completion``), or a
            ``dataset_info.json`` of LLaMA-Factory.
        folder: where to; made if it is not there.
        name: of the task; of a ``dataset_info.json`` the entry to import. Default: the file's, or the only entry.

    Raises:
        DataError: rows that are no single question with an answer, or answers that are no labels.
        UsageError: a file to be written is there, or an entry has to be named.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.name == DATASET_INFO:
        entry, rows = _llama_factory(file, name)
    else:
        entry, rows = name or file.stem, _openai(file)
    labels = _labels(file, rows)
    texts, task = _task(rows, labels)
    written = [{"text": text, "label": row.label} for text, row in zip(texts, rows, strict=True)]
    return write_task(folder, entry, task, written)


def _task(rows: Sequence[Row], labels: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Texts and task: an instruction or system prompt that all rows share is the task's, another stays in the text."""
    instructions, systems = {row.instruction for row in rows}, {row.system for row in rows}
    task: dict[str, Any] = {"labels": list(labels)}
    shared = len(instructions) == 1 and all(row.text for row in rows)
    if shared and rows[0].instruction:
        task["instruction"] = rows[0].instruction
    if len(systems) == 1 and rows[0].system:
        task["system"] = rows[0].system
    texts = []
    for row in rows:
        parts = [row.system if len(systems) > 1 else "", "" if shared else row.instruction, row.text]
        texts.append("\n".join(part for part in parts if part))
    return texts, task


def _labels(file: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    counts = Counter(row.label for row in rows)
    if len(counts) > _FEW_LABELS and len(counts) > len(rows) / 2:
        longest = max(counts, key=len)
        raise DataError(
            f"{file.name}: {len(counts)} different answers in {len(rows)} rows (for example {longest[:60]!r}) are no "
            "labels; a classification has few answers that repeat"
        )
    if len(counts) < 2:
        raise DataError(f"{file.name}: {len(counts)} different answers; a classification needs at least two")
    return tuple(label for label, _ in counts.most_common())


def _rows(
    file: Path, records: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Row | str]
) -> list[Row]:
    """Every record as a row, or one error with the first records that are none."""
    rows: list[Row] = []
    problems: list[str] = []
    for number, record in enumerate(records, start=1):
        found = read(record)
        if isinstance(found, Row) and found.label and (found.text or found.instruction):
            rows.append(found)
        else:
            problems.append(f"row {number}: {found if isinstance(found, str) else 'an empty question or answer'}")
    if problems:
        more = [f"and {len(problems) - _SHOWN} rows more"] if len(problems) > _SHOWN else []
        raise DataError([f"{file.name}: {problem}" for problem in [*problems[:_SHOWN], *more]])
    return rows


def _openai(file: Path) -> list[Row]:
    def read(record: Mapping[str, Any]) -> Row | str:
        if record.get("messages") is not None:
            return _conversation(record["messages"], "role", "content")
        if record.get("prompt") is not None and record.get("completion") is not None:
            return Row(str(record["prompt"]).strip(), str(record["completion"]).strip())
        return "has neither `messages` nor `prompt` and `completion`"

    return _rows(file, read_table(Source(path=str(file), format="jsonl")).frame.to_dicts(), read)


def _conversation(
    messages: Any, role_key: str, content_key: str, roles: Mapping[str, str] = _ROLES, system: str = ""
) -> Row | str:
    """One question, one answer, perhaps a system prompt; otherwise what is wrong."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return "its messages are no list of objects"
    turns = [(roles.get(str(one.get(role_key)), str(one.get(role_key))), one.get(content_key)) for one in messages]
    if any(not isinstance(content, str) for _, content in turns):
        return "a message without text"
    found = [role for role, _ in turns]
    if found and found[0] == "system":
        system, turns, found = str(turns[0][1]), turns[1:], found[1:]
    if found != ["user", "assistant"]:
        return f"expected one question and one answer, found {', '.join(found) or 'nothing'}"
    return Row(str(turns[0][1]).strip(), str(turns[1][1]).strip(), system=system.strip())


def _llama_factory(file: Path, name: str | None) -> tuple[str, list[Row]]:
    """An entry of a ``dataset_info.json`` and its rows; the data file lies beside it."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: not valid JSON ({error})") from error
    local = {key: value for key, value in entries.items() if isinstance(value, dict) and value.get("file_name")}
    if name is None and len(local) == 1:
        name = next(iter(local))
    if name is None or name not in local:
        raise UsageError(f"{file}: which entry? {did_you_mean(name or '', local)}")
    entry = local[name]
    form, columns, tags = entry.get("formatting", "alpaca"), entry.get("columns") or {}, entry.get("tags") or {}
    if form not in ("alpaca", "sharegpt") or entry.get("ranking"):
        raise DataError(f"{file}: entry {name!r}: only alpaca and sharegpt forms with one answer each can be imported")
    data = file.parent / str(entry["file_name"])
    reader = _alpaca(columns) if form == "alpaca" else _sharegpt(columns, tags)
    return name, _rows(data, read_table(Source(path=str(data))).frame.to_dicts(), reader)


def _alpaca(columns: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Row | str]:
    prompt, query = columns.get("prompt", "instruction"), columns.get("query", "input")
    response, system = columns.get("response", "output"), columns.get("system", "system")
    history = columns.get("history", "history")

    def read(record: Mapping[str, Any]) -> Row | str:
        if record.get(prompt) is None or record.get(response) is None:
            return f"lacks {prompt!r} or {response!r}"
        if record.get(history):
            return "has earlier turns"
        asked, given = (str(record.get(column) or "").strip() for column in (prompt, query))
        return Row(given, str(record[response]).strip(), asked, str(record.get(system) or "").strip())

    return read


def _sharegpt(columns: Mapping[str, str], tags: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Row | str]:
    messages, system = columns.get("messages", "conversations"), columns.get("system", "system")
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    roles = {
        tags.get("user_tag", "human"): "user",
        tags.get("assistant_tag", "gpt"): "assistant",
        tags.get("system_tag", "system"): "system",
    }

    def read(record: Mapping[str, Any]) -> Row | str:
        return _conversation(record.get(messages), role, content, roles, str(record.get(system) or ""))

    return read
