"""The emotion rows as the benchmarks use them: lines ``text;label``, and adjudge's prompt as strings for peers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adjudge.core.config import read_yaml
from adjudge.core.task import Task
from adjudge.models.trunk.loading import load_tokenizer, locate
from adjudge.prompts import Prompt, build_prompt
from adjudge.prompts.encode import Style

TASK = Path(__file__).resolve().parent.parent / "tasks" / "emotion.yaml"
LABELS = ("anger", "fear", "joy", "love", "sadness", "surprise")


@dataclass(frozen=True)
class Rows:
    """Texts and labels of one file."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


def read_rows(folder: Path, name: str, rows: int | None = None) -> Rows:
    """The first rows of ``train``, ``val`` or ``test``.

    Raises:
        SystemExit: the file is not there.
    """
    file = folder / f"{name}.txt"
    if not file.is_file():
        raise SystemExit(f"{file} is not there; --data names the folder of train.txt, val.txt and test.txt")
    lines = [line.rsplit(";", 1) for line in file.read_text(encoding="utf-8").splitlines()[:rows]]
    return Rows(tuple(text for text, _ in lines), tuple(label for _, label in lines))


def task() -> dict[str, Any]:
    """The task of ``tasks/emotion.yaml``, without its data."""
    found: dict[str, Any] = read_yaml(TASK)
    return {key: value for key, value in found.items() if key != "data"}


def prompt_of(model: str, style: Style, max_tokens: int) -> Prompt:
    """adjudge's prompt of the task for a model."""
    tokenizer = load_tokenizer(locate(model))
    return build_prompt(Task.model_validate(task()), LABELS, tokenizer, style=style, max_tokens=max_tokens)


def as_jobs(rows: Rows, prompt: Prompt | None) -> list[dict[str, str]]:
    """Rows for a job: text, label, and prompt and answer as strings (the bare text without a prompt)."""
    found = []
    for text, label in zip(rows.texts, rows.labels, strict=True):
        row = {"text": text, "label": label, "prompt": text, "answer": label}
        if prompt is not None:
            row["prompt"] = prompt.prefix + text + prompt.suffix
            row["answer"] = prompt.answers[LABELS.index(label)]
        found.append(row)
    return found
