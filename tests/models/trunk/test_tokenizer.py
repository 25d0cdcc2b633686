"""The tokenizer's narrow face; what prompts do with it is in tests/prompts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from adjudge.core.errors import ConfigError
from adjudge.models.trunk.tokenizer import ModelTokenizer
from tests.tiny_models import FAMILIES, tiny_tokenizer


@pytest.mark.parametrize("architecture", list(FAMILIES))
def test_surround_is_what_the_tokenizer_adds_by_itself(architecture: str) -> None:
    family, raw = FAMILIES[architecture], tiny_tokenizer(architecture)
    before, after = ModelTokenizer(raw).surround()
    assert raw.convert_ids_to_tokens(before) == [token for token in (family.start,) if token]
    assert raw.convert_ids_to_tokens(after) == [token for token in (family.end,) if token]


def test_the_end_is_eos_else_sep_else_pad() -> None:
    assert ModelTokenizer(tiny_tokenizer("llama")).end_id == tiny_tokenizer("llama").eos_token_id
    assert ModelTokenizer(tiny_tokenizer("bert")).end_id == tiny_tokenizer("bert").sep_token_id


def test_a_model_without_a_padding_token_is_fine() -> None:
    raw = tiny_tokenizer("llama")
    assert raw.pad_token is None
    assert len(ModelTokenizer(raw).encode_texts(["a", "longer text"])) == 2


def test_no_texts_encode_to_nothing() -> None:
    tokenizer = ModelTokenizer(tiny_tokenizer("llama"))
    assert tokenizer.encode_texts([]) == []
    assert tokenizer.encode_texts([""]) == [[]]
    assert tokenizer.encode_template("") == []


def test_counts_are_of_texts_without_special_tokens() -> None:
    tokenizer = ModelTokenizer(tiny_tokenizer("bert"))
    assert tokenizer.count(["", "xyz"]).tolist() == [0, 3]


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="no fast form"):
        ModelTokenizer(SimpleNamespace(is_fast=False, name_or_path="old"))


def test_a_saved_tokenizer_encodes_alike(tmp_path: Path) -> None:
    tokenizer = ModelTokenizer(tiny_tokenizer("llama", chat=True))
    tokenizer.save(tmp_path / "saved")
    again = ModelTokenizer(AutoTokenizer.from_pretrained(tmp_path / "saved"))
    texts = ["ดีมาก </s>", "很好", "🎉", "\n a"]
    assert again.encode_texts(texts) == tokenizer.encode_texts(texts)
    assert again.render_chat("s", "u") == tokenizer.render_chat("s", "u")
    assert again.encode_template("<s>[user]") == tokenizer.encode_template("<s>[user]")


def test_a_template_that_reads_the_clock_is_only_changed_in_its_date() -> None:
    raw = tiny_tokenizer("llama", chat=True)
    plain = ModelTokenizer(raw).render_chat("s", "u")
    raw.chat_template = "\n{% set day = strftime_now('%Y') %}" + raw.chat_template
    assert ModelTokenizer(raw).render_chat("s", "u") == "\n" + plain
