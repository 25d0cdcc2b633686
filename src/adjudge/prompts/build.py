"""Building a task's prompt for a model: instruction, label list, chat template, verbalizers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.prompts.demonstrations import (
    TEXT_MARK,
    Demonstration,
    Shot,
    holds_marks,
    shot_marks,
    split_marks,
    written,
)
from adjudge.prompts.prompt import Kind, Prompt, cut
from adjudge.prompts.tokenizer_protocol import Tokenizer

Style = Literal["auto", "chat", "plain", "bare"]

DEFAULT_INSTRUCTION = "Classify the text."
DEFAULT_PROMPT = "{instruction}\n\nText:\n{text}"
ANSWER_CUE = "\nLabel:"


def build_prompt(
    task: Task,
    labels: Sequence[str],
    tokenizer: Tokenizer,
    *,
    style: Style = "auto",
    max_tokens: int = 256,
    shots: Sequence[Demonstration] = (),
    shot_tokens: int = 128,
) -> Prompt:
    """Build the prompt of a task for a model.

    With demonstrations the task's `prompt` is rendered once for each of them and once for the text; what it says in
    paragraphs before the one with the text is said once.

    Args:
        task: gives instruction, system prompt, prompt text and verbalizers.
        labels: the closed set, in order.
        tokenizer: the model's.
        style: ``auto`` takes the chat template where the model has one, else ``plain``; ``bare`` is the text alone.
        max_tokens: the most tokens of a whole prompt, demonstrations included.
        shots: solved examples that stand in front of every text, in this order.
        shot_tokens: the most tokens of a demonstration's text.

    Raises:
        ConfigError: ``chat`` without a chat template; ``bare`` with demonstrations; two labels with the same answer
            ids; a prompt that leaves no room for text; a doubled begin-of-sequence token.
    """
    kind: Kind = ("chat" if tokenizer.has_chat_template else "plain") if style == "auto" else style
    if kind == "bare":
        return _bare(labels, tokenizer, max_tokens, shots)
    if kind == "chat" and not tokenizer.has_chat_template:
        raise ConfigError("prompt style 'chat' needs a model with a chat template; use 'plain' or 'auto'")
    words = verbalizers(task, labels)
    answers = words if kind == "chat" else tuple(f" {word}" for word in words)
    answer_ids = tuple(tuple(ids) for ids in tokenizer.encode_texts(answers))
    _refuse_equal_answers(labels, answers, answer_ids)
    answer_of = {label: (answers[i], answer_ids[i]) for i, label in enumerate(labels)}
    solved = _solve(shots, shot_tokens, answer_of, tokenizer)
    content = user_content(task, labels, words)
    render = _render_chat if kind == "chat" else _render_plain
    pieces, marks = split_marks(render(task, content, tokenizer, len(solved)), len(solved))
    prefix_ids = [] if kind == "chat" else _begin(tokenizer)
    ids_of = {mark: ids for i, shot in enumerate(solved) for mark, ids in shot.ids(i).items()}
    for piece, mark in zip(pieces, marks, strict=False):
        prefix_ids += [*tokenizer.encode_template(piece), *ids_of.get(mark, ())]
    _refuse_doubled_begin(prefix_ids, tokenizer)
    shown = {mark: said for i, shot in enumerate(solved) for mark, said in shot.shown(i).items()}
    return Prompt(
        kind=kind,
        prefix=written(pieces, shown, marks),
        suffix=pieces[-1],
        answers=answers,
        prefix_ids=tuple(prefix_ids),
        suffix_ids=tuple(tokenizer.encode_template(pieces[-1])),
        answer_ids=answer_ids,
        max_tokens=max_tokens,
        shots=tuple(shot.row_id for shot in solved),
        thinking=False if kind == "chat" and tokenizer.has_thinking_switch else None,
    )


def _solve(
    shots: Sequence[Demonstration],
    shot_tokens: int,
    answer_of: Mapping[str, tuple[str, tuple[int, ...]]],
    tokenizer: Tokenizer,
) -> list[Shot]:
    """The demonstrations with their ids, texts cut to so many tokens."""
    texts = tokenizer.encode_texts([cut(shot.text, shot_tokens) for shot in shots])
    return [
        Shot(shot.row_id, answer_of[shot.label][0], tuple(ids[:shot_tokens]), answer_of[shot.label][1])
        for shot, ids in zip(shots, texts, strict=True)
    ]


def _bare(labels: Sequence[str], tokenizer: Tokenizer, max_tokens: int, shots: Sequence[Demonstration]) -> Prompt:
    if shots:
        raise ConfigError("prompt style 'bare' is the text alone and shows no demonstrations; use 'plain' or 'chat'")
    before, after = tokenizer.surround()
    # A row needs a token of its own to be read at, also where the text is empty.
    after = after or [tokenizer.end_id]
    return Prompt("bare", "", "", tuple(labels), tuple(before), tuple(after), ((),) * len(labels), max_tokens)


def _render_chat(task: Task, content: Content, tokenizer: Tokenizer, n_shots: int) -> str:
    turns = [
        (content.around(text, first=i == 0), answer)
        for i, (text, answer) in enumerate(map(shot_marks, range(n_shots)))
    ]
    return tokenizer.render_chat(task.system or "", content.around(TEXT_MARK, first=not turns), turns)


def _render_plain(task: Task, content: Content, tokenizer: Tokenizer, n_shots: int) -> str:
    del tokenizer
    blocks = [
        content.around(text, first=i == 0) + ANSWER_CUE + answer
        for i, (text, answer) in enumerate(map(shot_marks, range(n_shots)))
    ]
    blocks.append(content.around(TEXT_MARK, first=not blocks) + ANSWER_CUE)
    system = f"{task.system}\n\n" if task.system else ""
    return system + "\n\n".join(blocks)


def verbalizers(task: Task, labels: Sequence[str]) -> tuple[str, ...]:
    """The words that stand for each label: the task's, else the label itself."""
    known = task.labels or {}
    words = ((known[label].verbalizer if label in known else None) or label for label in labels)
    return tuple(word.strip() for word in words)


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
    return re.sub("|".join(rf"\{{{name}\}}" for name in filled), lambda found: filled[found[0][1:-1]], template)


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
