"""What is said to a model about a text: messages with a role each, from a task and its labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.prompts.demonstrations import holds_marks

Role = Literal["system", "user", "assistant"]


DEFAULT_INSTRUCTION = "Classify the text."
DEFAULT_PROMPT = "{instruction}\n\nText:\n{text}"


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: who says it.
        content: what is said.
    """

    role: Role
    content: str


@dataclass(frozen=True)
class Content:
    """What the user's message says around a text.

    Attributes:
        opening: what is said once, in front of the first text.
        before: what stands before each text.
        after: what stands behind each text.
    """

    opening: str
    before: str
    after: str

    def around(self, text: str, *, first: bool) -> str:
        """The message of a text."""
        return (self.opening if first else "") + self.before + text + self.after


def conversation(
    task: Task, content: Content, text: str, solved: Sequence[tuple[str, str]] = ()
) -> tuple[Message, ...]:
    """The messages of a text, up to where the assistant answers.

    Args:
        task: gives the system prompt, which is left out where there is none.
        content: what the user says around a text.
        text: the text, or what stands for it.
        solved: texts with their answers, in front of it.
    """
    said = [Message("system", task.system)] if task.system else []
    for i, (shown, answer) in enumerate(solved):
        said += [Message("user", content.around(shown, first=i == 0)), Message("assistant", answer)]
    return (*said, Message("user", content.around(text, first=not solved)))


def verbalizers(task: Task, labels: Sequence[str]) -> tuple[str, ...]:
    """The words that stand for each label: the task's, else the label itself."""
    known = task.labels or {}
    words = ((known[label].verbalizer if label in known else None) or label for label in labels)
    return tuple(word.strip() for word in words)


def user_content(task: Task, labels: Sequence[str], words: Sequence[str]) -> Content:
    """The prompt around the text, with instruction and label list filled in."""
    known = task.labels or {}
    described = [
        f"{word}: {known[label].description}" if label in known and known[label].description else word
        for label, word in zip(labels, words, strict=True)
    ]
    wanted = "all of these labels that apply" if task.problem.multi else "exactly one of these labels"
    if described == list(words):
        listed, answer_with = ", ".join(words), f"Answer with {wanted}: "
    else:
        listed, answer_with = "\n".join(f"- {line}" for line in described), f"Answer with {wanted}:\n"
    instruction = task.instruction or DEFAULT_INSTRUCTION
    if "{labels}" not in instruction and "{labels}" not in (task.prompt or ""):
        instruction = f"{instruction} {answer_with}{listed}"  # a closed set that is not shown cannot be chosen from
    filled = {"labels": listed, "instruction": _fill(instruction, {"labels": listed})}
    # The text's place is found first, so that a label or instruction that contains "{text}" is not taken for it.
    before, after = (task.prompt or DEFAULT_PROMPT).split("{text}")
    opening, gap, before = before.rpartition("\n\n")
    content = Content(*(_fill(part, filled) for part in (opening + gap, before, after)))
    if any(map(holds_marks, (content.opening, content.before, content.after, task.system or ""))):
        raise ConfigError("instruction, prompt and labels must not contain the reserved characters U+E000 and U+E001")
    return content


def _fill(template: str, filled: dict[str, str]) -> str:
    """Fill placeholders in one pass: what is filled in is not searched for placeholders again."""
    return re.sub("|".join(rf"\{{{name}\}}" for name in filled), lambda match: filled[match[0][1:-1]], template)
