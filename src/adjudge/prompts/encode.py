"""A task's messages as the token ids of a model: chat template or plain text, verbalizers, demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.prompts.demonstrations import (
    TEXT_MARK,
    Demonstration,
    Shot,
    shot_marks,
    split_marks,
    written,
)
from adjudge.prompts.messages import Message, conversation, user_content, verbalizers
from adjudge.prompts.prompt import Kind, Prompt, cut
from adjudge.prompts.tokenizer_protocol import Tokenizer

Style = Literal["auto", "chat", "plain", "bare"]

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
    said = conversation(task, user_content(task, labels, words), TEXT_MARK, [*map(shot_marks, range(len(solved)))])
    render = _render_chat if kind == "chat" else _render_plain
    pieces, marks = split_marks(render(said, tokenizer), len(solved))
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


def _render_chat(said: Sequence[Message], tokenizer: Tokenizer) -> str:
    turns = [message.content for message in said if message.role != "system"]
    return tokenizer.render_chat(_system(said), turns[-1], list(zip(turns[:-1:2], turns[1::2], strict=True)))


def _render_plain(said: Sequence[Message], tokenizer: Tokenizer) -> str:
    del tokenizer
    users, answers = ([message.content for message in said if message.role == role] for role in ("user", "assistant"))
    system = _system(said)
    blocks = [user + ANSWER_CUE + answer for user, answer in zip(users, [*answers, ""], strict=True)]
    return (f"{system}\n\n" if system else "") + "\n\n".join(blocks)


def _system(said: Sequence[Message]) -> str:
    return "".join(message.content for message in said if message.role == "system")


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
