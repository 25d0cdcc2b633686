"""Texts to ids: only the text is cut, nothing in it ends the prompt, and the ids are stored."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts import Prompt, build_prompt
from tests.tiny_models import FAMILIES, tiny_tokenizer

LABELS = ("good", "bad")


def make(architecture: str = "llama", *, chat: bool = False, max_tokens: int = 200, **options: Any) -> Any:
    tokenizer = ModelTokenizer(tiny_tokenizer(architecture, chat=chat))
    return build_prompt(Task(name="t"), LABELS, tokenizer, max_tokens=max_tokens, **options), tokenizer


@pytest.mark.parametrize("style", ["chat", "plain", "bare"])
def test_only_the_text_is_cut(style: str) -> None:
    prompt, tokenizer = make(chat=True, max_tokens=220, style=style)
    short, exact, long = prompt.encode(["x" * 3, "x" * prompt.text_budget, "x" * 1000], tokenizer)
    assert (len(short.text_ids), short.n_text_tokens, short.truncated) == (3, 3, False)
    assert (len(exact.text_ids), exact.truncated) == (prompt.text_budget, False)
    assert (len(long.text_ids), long.n_text_tokens, long.truncated) == (prompt.text_budget, 1000, True)
    for row in (short, exact, long):
        assert row.suffix_ids == prompt.suffix_ids
    assert len(prompt.prefix_ids) + len(long.text_ids) + len(long.suffix_ids) == 220


def test_the_kept_part_is_the_beginning() -> None:
    prompt, tokenizer = make(max_tokens=180)
    text = "abcdefghij" * 100
    (row,) = prompt.encode([text], tokenizer)
    assert row.text_ids == tuple(tokenizer.encode_texts([text])[0][: prompt.text_budget])


def test_a_text_of_ten_megabytes_is_cheap_and_counted_as_truncated() -> None:
    prompt, tokenizer = make()
    for character in ("x", " ", "𠀀"):
        began = time.process_time()
        (row,) = prompt.encode([character * 10_000_000], tokenizer)
        assert time.process_time() - began < 1
        assert row.truncated
        assert len(row.text_ids) == prompt.text_budget


@pytest.mark.parametrize("architecture", list(FAMILIES))
def test_special_tokens_written_in_a_text_are_ordinary_characters(architecture: str) -> None:
    """A text that holds an end-of-sequence token must not end its own prompt, nor move where the answer is read."""
    prompt, tokenizer = make(architecture, style="bare")
    special = set(FAMILIES[architecture].special.values())
    forbidden = {tokenizer.encode_template(token)[0] for token in special}
    assert all(len(tokenizer.encode_template(token)) == 1 for token in special)
    text = " and ".join(sorted(special))
    (row,) = prompt.encode([text], tokenizer)
    assert not forbidden & set(row.text_ids)
    assert tokenizer._tokenizer.decode(list(row.text_ids)) == text
    assert len(tokenizer.encode_template(special.pop())) == 1  # and a template's tokens are still recognised after it


def test_half_a_surrogate_pair_becomes_a_replacement_character_and_a_whole_one_its_emoji() -> None:
    prompt, tokenizer = make()
    lone, pair = prompt.encode(["a\ud83cb", "\ud83c\udf89"], tokenizer)
    assert tokenizer._tokenizer.decode(list(lone.text_ids)) == "a\ufffdb"
    assert tokenizer._tokenizer.decode(list(pair.text_ids)) == "🎉"


def test_no_texts_and_empty_texts() -> None:
    prompt, tokenizer = make(style="bare")
    assert prompt.encode([], tokenizer) == []
    (row,) = prompt.encode([""], tokenizer)
    assert row.text_ids == ()
    assert row.suffix_ids  # a token to read the answer at, also where there is no text


def test_the_stored_prompt_is_the_same_prompt() -> None:
    prompt, tokenizer = make(chat=True)
    again = Prompt.from_json(json.loads(json.dumps(prompt.to_json())))
    assert again == prompt
    assert again.hash() == prompt.hash()
    assert again.encode(["x y"], tokenizer) == prompt.encode(["x y"], tokenizer)


def test_the_hash_changes_with_anything_that_changes_ids() -> None:
    prompt, _ = make()
    others = [
        replace(prompt, prefix_ids=(*prompt.prefix_ids, 9)),
        replace(prompt, suffix_ids=(9, *prompt.suffix_ids)),
        replace(prompt, answer_ids=tuple(reversed(prompt.answer_ids))),
        replace(prompt, max_tokens=prompt.max_tokens - 1),
        replace(prompt, kind="chat"),
    ]
    assert len({prompt.hash(), *(other.hash() for other in others)}) == 6


def test_no_room_for_text_is_an_error_with_the_numbers() -> None:
    prompt, _ = make()
    fixed = prompt.n_fixed_tokens
    assert replace(prompt, max_tokens=fixed + 1).text_budget == 1
    with pytest.raises(ConfigError, match=rf"max_tokens is {fixed}, .* take {fixed} tokens"):
        replace(prompt, max_tokens=fixed)


def test_a_prompt_that_ends_with_the_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not end with the text"):
        replace(make()[0], suffix_ids=())


def test_what_a_run_says_about_its_template() -> None:
    prompt, _ = make()
    described = prompt.describe()
    assert described["hash"] == prompt.hash()
    assert described["kind"] == "plain"
    assert described["text"].count("{text}") == 1
    assert described["fixed_tokens"] == prompt.n_fixed_tokens
