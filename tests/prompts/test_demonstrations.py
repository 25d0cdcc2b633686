"""Solved examples in the prompt: rendered as the model will see the text itself, and only their texts are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts import Demonstration, Prompt, build_prompt
from tests.tiny_models import CHAT_TEMPLATE, tiny_tokenizer

LABELS = ("good", "bad")
SHOTS = (Demonstration("r1", "fine day", "good"), Demonstration("r2", "it broke", "bad"))
THINKING = CHAT_TEMPLATE + (
    "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n{% endif %}"
)


def tokenizer_of(template: str | None = None) -> ModelTokenizer:
    tokenizer = tiny_tokenizer("llama")
    tokenizer.chat_template = template
    return ModelTokenizer(tokenizer)


def build(task: dict[str, Any] | None = None, template: str | None = None, **options: Any) -> Prompt:
    whole = validate(Task, {"name": "t", **(task or {})}, "task")
    return build_prompt(whole, LABELS, tokenizer_of(template), **{"max_tokens": 900, "shots": SHOTS, **options})


def decoded(prompt: Prompt, text: str = "") -> str:
    """The whole prompt as the model gets it."""
    (row,) = prompt.encode([text], tokenizer_of())
    return str(tiny_tokenizer("llama").decode([*prompt.prefix_ids, *row.text_ids, *row.suffix_ids]))


def test_plain_blocks_say_the_instruction_once() -> None:
    opening = "<s>Classify the text. Answer with exactly one of these labels: good, bad\n\n"
    blocks = "Text:\nfine day\nLabel: good\n\nText:\nit broke\nLabel: bad\n\nText:\nhello\nLabel:"
    assert decoded(build(), "hello") == opening + blocks


def test_chat_turns_are_what_the_template_makes_of_the_conversation() -> None:
    ask = "Classify the text. Answer with exactly one of these labels: good, bad\n\n"
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": ask + "Text:\nfine day"},
        {"role": "assistant", "content": "good"},
        {"role": "user", "content": "Text:\nit broke"},
        {"role": "assistant", "content": "bad"},
        {"role": "user", "content": "Text:\nhello"},
    ]
    tokenizer = tiny_tokenizer("llama", chat=True)
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = build({"system": "S"}, CHAT_TEMPLATE)
    assert prompt.kind == "chat"
    assert decoded(prompt, "hello") == rendered


def test_a_template_without_a_system_role_gets_its_text_before_the_first_users() -> None:
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHAT_TEMPLATE
    shown = decoded(build({"system": "You judge."}, refuses))
    assert shown.count("You judge.") == 1
    assert shown.index("You judge.") < shown.index("fine day")


def test_answers_are_written_as_they_are_scored() -> None:
    for template in (None, CHAT_TEMPLATE):
        prompt = build({"labels": {"good": {"verbalizer": "yes"}, "bad": {}}}, template)
        ids = list(prompt.prefix_ids)
        for answer in prompt.answer_ids:
            assert any(tuple(ids[i : i + len(answer)]) == answer for i in range(len(ids)))


def test_what_a_custom_prompt_says_around_the_text_is_said_around_each() -> None:
    shown = decoded(build({"prompt": "{instruction}\n\nReview: {text} ->"}), "hello")
    assert shown.count("Review: ") == shown.count(" ->") == 3
    assert shown.count("Classify the text.") == 1
    one_paragraph = decoded(build({"prompt": "{labels}? {text} ="}), "hello")
    assert one_paragraph.count("good, bad? ") == 3


def test_only_a_demonstrations_text_is_cut() -> None:
    long = (Demonstration("r1", "x" * 5000, "good"), SHOTS[1])
    prompt = build(shots=long, shot_tokens=10)
    assert "Text:\n" + "x" * 10 + "\nLabel: good\n\n" in decoded(prompt)
    with pytest.raises(ConfigError, match=r"instruction, 2 demonstrations .* use fewer or shorter demonstrations"):
        build(shots=long, shot_tokens=1000)


def test_special_tokens_and_marks_in_a_demonstration_are_only_text() -> None:
    nasty = "a </s> {text} \ue000text\ue001 \ue000shot 1\ue001 [assistant] b"
    prompt = build(template=CHAT_TEMPLATE, shots=(Demonstration("r1", nasty, "good"), SHOTS[1]))
    assert nasty in decoded(prompt)
    assert tiny_tokenizer("llama").eos_token_id not in prompt.prefix_ids
    assert prompt.prefix_ids.count(tiny_tokenizer("llama").bos_token_id) == 1


def test_the_hash_changes_with_the_demonstrations_and_their_order() -> None:
    others = [build(), build(shots=()), build(shots=SHOTS[:1]), build(shots=SHOTS[::-1]), build(shot_tokens=3)]
    assert len({prompt.hash() for prompt in others}) == 5


def test_a_run_names_the_rows_and_holds_none_of_their_text() -> None:
    prompt = build()
    described = prompt.describe()
    assert described["shots"] == ["r1", "r2"]
    assert "Text:\n{text of r1}\nLabel: good\n\n" in described["text"]
    assert "fine day" not in json.dumps(described)
    assert Prompt.from_json(json.loads(json.dumps(prompt.to_json()))) == prompt


def test_the_bare_text_has_no_place_for_demonstrations() -> None:
    with pytest.raises(ConfigError, match="shows no demonstrations"):
        build(style="bare")


def test_a_template_that_leaves_turns_out_is_refused() -> None:
    last_only = CHAT_TEMPLATE.replace("{% for message in messages %}", "{% for message in messages[-1:] %}")
    with pytest.raises(ConfigError, match="demonstrations out of order or not whole"):
        build(template=last_only)


def test_reasoning_is_switched_off_where_the_template_has_a_switch_and_a_run_says_so() -> None:
    prompt = build(template=THINKING)
    assert prompt.suffix.endswith("[assistant]\n<think>\n\n</think>\n")
    assert prompt.prefix.count("<think>") == 0
    assert prompt.describe()["thinking"] is False
    assert build(template=CHAT_TEMPLATE).describe()["thinking"] is None
    assert build(template=THINKING, style="plain").describe()["thinking"] is None
