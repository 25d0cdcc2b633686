"""Building a task's prompt for a model: instruction, label list, chat template, verbalizers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.prompts.prompt import Kind, Prompt
from adjudge.prompts.tokenizer import Tokenizer

Style = Literal["auto", "chat", "plain", "bare"]

DEFAULT_INSTRUCTION = "Classify the text."
DEFAULT_PROMPT = "{instruction}\n\nText:\n{text}"
ANSWER_CUE = "\nLabel:"
# Stands for the text while a template is rendered. Private-use characters: no template or instruction has them.
_SLOT = "\ue000text\ue001"


def build_prompt(
    task: Task, labels: Sequence[str], tokenizer: Tokenizer, *, style: Style = "auto", max_tokens: int = 256
) -> Prompt:
    """Build the prompt of a task for a model.

    Args:
        task: gives instruction, system prompt, prompt text and verbalizers.
        labels: the closed set, in order.
        tokenizer: the model's.
        style: ``auto`` takes the chat template where the model has one, else ``plain``; ``bare`` is the text alone.
        max_tokens: the most tokens of a whole prompt.

    Raises:
        ConfigError: ``chat`` without a chat template; two labels with the same answer ids; a prompt that leaves no
            room for text; a doubled begin-of-sequence token.
    """
    kind: Kind = ("chat" if tokenizer.has_chat_template else "plain") if style == "auto" else style
    if kind == "bare":
        before, after = tokenizer.surround()
        # A row needs a token of its own to be read at, also where the text is empty.
        after = after or [tokenizer.end_id]
        return Prompt("bare", "", "", tuple(labels), tuple(before), tuple(after), ((),) * len(labels), max_tokens)
    words = verbalizers(task, labels)
    content = user_content(task, labels, words)
    if kind == "chat":
        if not tokenizer.has_chat_template:
            raise ConfigError("prompt style 'chat' needs a model with a chat template; use 'plain' or 'auto'")
        prefix, suffix = _split(tokenizer.render_chat(task.system or "", content))
        prefix_ids = tokenizer.encode_template(prefix)
        answers = words
    else:
        system = f"{task.system}\n\n" if task.system else ""
        prefix, suffix = _split(system + content + ANSWER_CUE)
        prefix_ids = [*_begin(tokenizer), *tokenizer.encode_template(prefix)]
        answers = tuple(f" {word}" for word in words)
    _refuse_doubled_begin(prefix_ids, tokenizer)
    answer_ids = tuple(tuple(ids) for ids in tokenizer.encode_texts(answers))
    _refuse_equal_answers(labels, answers, answer_ids)
    suffix_ids = tuple(tokenizer.encode_template(suffix))
    return Prompt(kind, prefix, suffix, answers, tuple(prefix_ids), suffix_ids, answer_ids, max_tokens)


def verbalizers(task: Task, labels: Sequence[str]) -> tuple[str, ...]:
    """The words that stand for each label: the task's, else the label itself."""
    known = task.labels or {}
    words = ((known[label].verbalizer if label in known else None) or label for label in labels)
    return tuple(word.strip() for word in words)


def user_content(task: Task, labels: Sequence[str], words: Sequence[str]) -> str:
    """The prompt with instruction and label list filled in and a private slot for the text."""
    known = task.labels or {}
    described = [
        f"{word}: {known[label].description}" if label in known and known[label].description else word
        for label, word in zip(labels, words, strict=True)
    ]
    if described == list(words):
        listed, answer_with = ", ".join(words), "Answer with exactly one of these labels: "
    else:
        listed, answer_with = (
            "\n".join(f"- {line}" for line in described),
            "Answer with exactly one of these labels:\n",
        )
    instruction = task.instruction or DEFAULT_INSTRUCTION
    if "{labels}" not in instruction and "{labels}" not in (task.prompt or ""):
        instruction = f"{instruction} {answer_with}{listed}"  # a closed set that is not shown cannot be chosen from
    written = {"labels": listed, "instruction": _fill(instruction, {"labels": listed})}
    # The text's place is found first, so that a label or instruction that contains "{text}" is not taken for it.
    before, after = (task.prompt or DEFAULT_PROMPT).split("{text}")
    parts = [_fill(before, written), _fill(after, written)]
    if _SLOT in "".join([*parts, task.system or ""]):
        raise ConfigError(f"instruction, prompt and labels must not contain the reserved characters {_SLOT!r}")
    return _SLOT.join(parts)


def _fill(template: str, written: dict[str, str]) -> str:
    """Fill placeholders in one pass: what is filled in is not searched for placeholders again."""
    return re.sub("|".join(rf"\{{{name}\}}" for name in written), lambda found: written[found[0][1:-1]], template)


def _split(rendered: str) -> tuple[str, str]:
    parts = rendered.split(_SLOT)
    if len(parts) != 2:
        raise ConfigError(f"the model's chat template shows the user's message {len(parts) - 1} times instead of once")
    return parts[0], parts[1]


def _begin(tokenizer: Tokenizer) -> list[int]:
    """The begin-of-sequence id where the tokenizer adds one by itself."""
    before, _ = tokenizer.surround()
    return [i for i in before if i == tokenizer.bos_id]


def _refuse_doubled_begin(prefix_ids: Sequence[int], tokenizer: Tokenizer) -> None:
    if tokenizer.bos_id is not None and list(prefix_ids[:2]) == [tokenizer.bos_id] * 2:
        raise ConfigError(
            "the prompt would begin with two begin-of-sequence tokens: the task's system prompt or prompt text "
            "already holds one; remove it there"
        )


def _refuse_equal_answers(
    labels: Sequence[str], answers: Sequence[str], answer_ids: Sequence[tuple[int, ...]]
) -> None:
    seen: dict[tuple[int, ...], str] = {}
    for label, answer, ids in zip(labels, answers, answer_ids, strict=True):
        if not ids:
            raise ConfigError(f"the verbalizer {answer!r} of label {label!r} has no tokens; give it another one")
        if ids in seen:
            raise ConfigError(
                f"labels {seen[ids]!r} and {label!r} have the same verbalizer {answer!r}; "
                "give one of them another `verbalizer`"
            )
        seen[ids] = label
