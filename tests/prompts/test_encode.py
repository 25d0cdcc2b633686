"""Building prompts: instruction, closed set, chat template, system prompt, verbalizers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts import Prompt, build_prompt
from tests.tiny_models import CHAT_TEMPLATE, tiny_tokenizer

LABELS = ("good", "bad")
SYSTEM_BY_DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}[system]\nYou are a helpful assistant.\n{% endif %}" + CHAT_TEMPLATE
)
REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + (
    CHAT_TEMPLATE
)
IGNORES_SYSTEM = CHAT_TEMPLATE.replace("{% for message in messages %}", "{% for message in messages[-1:] %}")


def build(
    task: dict[str, Any] | None = None,
    labels: tuple[str, ...] = LABELS,
    *,
    template: str | None = None,
    architecture: str = "llama",
    **options: Any,
) -> Prompt:
    tokenizer = tiny_tokenizer(architecture)
    tokenizer.chat_template = template
    wrapped = ModelTokenizer(tokenizer)
    return build_prompt(
        validate(Task, {"name": "t", **(task or {})}, "task"), labels, wrapped, **{"max_tokens": 500, **options}
    )


def test_auto_takes_the_chat_template_where_there_is_one() -> None:
    assert build(template=CHAT_TEMPLATE).kind == "chat"
    assert build().kind == "plain"
    assert build(template=CHAT_TEMPLATE, style="plain").kind == "plain"


def test_chat_without_a_template_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a model with a chat template"):
        build(style="chat")


@pytest.mark.parametrize("style", ["plain", "chat", "bare"])
def test_exactly_one_begin_of_sequence_token(style: str) -> None:
    """Templates that write the token themselves and tokenizers that add it must not both do so."""
    tokenizer = ModelTokenizer(tiny_tokenizer("llama", chat=True))
    prompt = build(template=CHAT_TEMPLATE, style=style)
    assert prompt.prefix_ids[0] == tokenizer.bos_id
    assert prompt.prefix_ids.count(tokenizer.bos_id) == 1
    assert tokenizer.bos_id not in prompt.suffix_ids


def test_a_model_that_begins_with_no_special_token_gets_none() -> None:
    assert build(architecture="qwen3", style="bare").prefix_ids == ()


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_a_doubled_begin_of_sequence_token_is_refused(style: str) -> None:
    template = CHAT_TEMPLATE.replace("[{{ message['role'] }}]\n", "")
    with pytest.raises(ConfigError, match="two begin-of-sequence tokens"):
        build({"system": "<s>You judge."}, template=template, style=style)


def test_no_system_prompt_is_added_silently() -> None:
    prompt = build(template=SYSTEM_BY_DEFAULT)
    assert "helpful assistant" not in prompt.prefix
    assert "You judge." in build({"system": "You judge."}, template=SYSTEM_BY_DEFAULT).prefix


@pytest.mark.parametrize("template", [REFUSES_SYSTEM, IGNORES_SYSTEM])
def test_a_template_without_a_system_role_gets_its_text_before_the_users(template: str) -> None:
    prompt = build({"system": "You judge."}, template=template)
    assert prompt.prefix.count("You judge.") == 1
    assert "[system]" not in prompt.prefix
    assert prompt.prefix.index("You judge.") < prompt.prefix.index("Classify the text.")
    assert "You judge." not in build(template=template).prefix


def test_a_template_that_shows_the_message_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 times"):
        build(template="{% for m in messages %}{{ m.content }} {{ m.content }}{% endfor %}go")


@pytest.mark.parametrize("call", ["strftime_now('%d %b %Y')", "date_string"])
def test_a_templates_date_is_fixed(call: str) -> None:
    prompt = build(template="Today is {{ " + call + " }}. " + CHAT_TEMPLATE)
    assert "Today is 01 Jan 2025." in prompt.prefix
    assert str(datetime.now().astimezone().year) not in prompt.prefix.replace("2025", "")


def test_the_closed_set_is_shown_where_the_instruction_does_not_place_it() -> None:
    assert "Answer with exactly one of these labels: good, bad" in build().prefix
    assert (
        "Is it fine? Answer with exactly one of these labels: good, bad"
        in build({"instruction": "Is it fine?"}).prefix
    )
    placed = build({"instruction": "Choose from {labels}!"}).prefix
    assert "Choose from good, bad!" in placed
    assert "Answer with" not in placed
    assert "of good, bad:" in build({"prompt": "{instruction} of {labels}: {text} ->"}).prefix


def test_descriptions_and_verbalizers_are_shown_together() -> None:
    labels = {"good": {"description": "praise", "verbalizer": "yes"}, "bad": {}}
    prompt = build({"labels": labels})
    assert "- yes: praise\n- bad" in prompt.prefix
    assert prompt.answers == (" yes", " bad")


@pytest.mark.parametrize("instruction", ["Say {text}.", "Say {instruction}.", "Use {name} and {}."])
def test_braces_in_an_instruction_are_kept_as_written(instruction: str) -> None:
    prompt = build({"instruction": instruction})
    assert instruction in prompt.prefix
    assert prompt.suffix == "\nLabel:"


def test_labels_that_look_like_placeholders_are_kept_as_written() -> None:
    prompt = build({"prompt": "{labels} | {instruction} | {text} | {labels}"}, ("{text}", "{labels}", "{instruction}"))
    assert prompt.prefix.startswith("{text}, {labels}, {instruction} | Classify the text. | ")
    assert prompt.suffix == " | {text}, {labels}, {instruction}\nLabel:"


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ({"instruction": "a \ue000text\ue001 b"}, LABELS),
        ({"system": "\ue000text\ue001"}, LABELS),
        ({}, ("good", "\ue000text\ue001")),
    ],
)
def test_the_reserved_slot_is_refused_by_name(task: dict[str, Any], labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="reserved characters"):
        build(task, labels)


def test_text_that_contains_placeholders_or_the_slot_is_only_text() -> None:
    tokenizer = ModelTokenizer(tiny_tokenizer("llama"))
    prompt = build()
    text = "a {text} {labels} \ue000text\ue001 b"
    (row,) = prompt.encode([text], tokenizer)
    assert tokenizer._tokenizer.decode(list(row.text_ids)) == text
    assert row.suffix_ids == prompt.suffix_ids


def test_equal_verbalizers_are_refused_with_both_labels() -> None:
    labels = {"good": {"verbalizer": "yes"}, "bad": {"verbalizer": "yes "}}
    with pytest.raises(ConfigError, match=r"'good' and 'bad' have the same verbalizer ' yes'"):
        build({"labels": labels})


def test_labels_in_any_script_part_from_each_other() -> None:
    labels = ("ดีมาก", "ดี", "很好", "很坏", "🎉", "🎂", "плохо")
    prompt = build(labels=labels)
    assert len(set(prompt.answer_ids)) == len(labels)
    tokenizer = tiny_tokenizer("llama")
    assert [tokenizer.decode(list(ids)) for ids in prompt.answer_ids] == [f" {label}" for label in labels]


def test_chat_answers_begin_right_behind_the_template_and_plain_ones_behind_a_space() -> None:
    assert build(template=CHAT_TEMPLATE).answers == LABELS
    assert build().answers == (" good", " bad")


def test_parts_join_to_what_the_template_renders() -> None:
    tokenizer = tiny_tokenizer("llama", chat=True)
    prompt = build({"system": "S"}, template=CHAT_TEMPLATE)
    messages = [
        {"role": "system", "content": "S"},
        {
            "role": "user",
            "content": "Classify the text. Answer with exactly one of these labels: good, bad\n\nText:\nhello",
        },
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt.prefix + "hello" + prompt.suffix == rendered


def test_max_tokens_too_small_for_the_instruction() -> None:
    with pytest.raises(ConfigError, match="raise max_tokens or shorten the instruction"):
        build(max_tokens=20)
