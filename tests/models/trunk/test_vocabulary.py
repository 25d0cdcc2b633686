"""Models whose vocabulary is missing, empty, or another one's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from adjudge.core.errors import ConfigError, ModelNotFoundError
from adjudge.models.trunk.loading import find_tokenizer, load_pretrained
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.models.trunk.vocabulary import ORDINARY, refuse_without_vocabulary
from tests.tiny_models import FAMILIES, tiny_model, tiny_tokenizer


def words_tokenizer(words: list[str], *, unknown: bool = True) -> ModelTokenizer:
    """A tokenizer of whole words. What it does not know becomes the unknown token, or nothing at all."""
    special = ["[UNK]"] if unknown else []
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = (
        Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        if unknown
        else Tokenizer(models.BPE(vocabulary, []))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return ModelTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]" if unknown else None))


@pytest.mark.parametrize("architecture", list(FAMILIES))
def test_a_folder_without_its_vocabulary_is_refused_by_every_family(architecture: str, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / architecture)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"has no vocabulary \(none of tokenizer\.json"):
        load_pretrained(str(folder))
    (folder / "tokenizer_config.json").unlink()  # some families then make a tokenizer of special tokens alone
    with pytest.raises(ModelNotFoundError, match="has no vocabulary"):
        find_tokenizer(str(folder))


@pytest.mark.parametrize("unknown", [True, False])
def test_a_tokenizer_that_knows_no_ordinary_word_is_refused(unknown: bool) -> None:
    with pytest.raises(ModelNotFoundError, match="where/it/is: its tokenizer knows nothing of ordinary words"):
        refuse_without_vocabulary(words_tokenizer(["zzyzx", "qwrtp"], unknown=unknown), "where/it/is")


@pytest.mark.parametrize("words", [["день"], ["ดี", "บ้านดีและวันยาว"], ["很", "房子很好"], ["good"], ["M", "K", "7"]])
def test_words_or_letters_of_one_script_are_enough(words: list[str]) -> None:
    tokenizer = words_tokenizer(words)
    refuse_without_vocabulary(tokenizer, "")
    assert 0 < np.count_nonzero(tokenizer.count_known(ORDINARY)) < len(ORDINARY)


def test_an_empty_vocabulary_in_a_file_is_found(tmp_path: Path) -> None:
    folder = tiny_model("bert", tmp_path / "bert")
    words_tokenizer(["zzyzx"]).save(folder)
    with pytest.raises(ModelNotFoundError, match="vocabulary is missing or empty"):
        load_pretrained(str(folder))


def test_known_tokens_are_counted_without_unknown_ones() -> None:
    tokenizer = words_tokenizer(["good", "day"])
    assert tokenizer.count_known(["good bad day", "bad", "", "good good"]).tolist() == [2, 0, 0, 2]
    assert ModelTokenizer(tiny_tokenizer("bert")).count_known(["ab", "ดี"]).tolist() == [2, 6]  # bytes are all known


def test_a_tokenizer_of_another_model_is_refused_by_its_ids(tmp_path: Path) -> None:
    folder = tiny_model("bert", tmp_path / "bert")
    words = [f"word{i}" for i in range(400)]
    words_tokenizer(["good", *words]).save(folder)
    with pytest.raises(ConfigError, match=r"gives words ids up to 401, and the model's embedding has \d+ rows"):
        load_pretrained(str(folder))
    with pytest.raises(ConfigError, match="not of one model"):
        find_tokenizer(str(folder))


def test_special_tokens_without_a_row_matter_only_where_a_prompt_has_them(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "llama")
    raw = tiny_tokenizer("llama", chat=True)
    raw.add_special_tokens({"additional_special_tokens": ["<image>"]})  # as some models list what only others use
    raw.save_pretrained(folder)
    tokenizer = load_pretrained(str(folder)).tokenizer
    assert tokenizer.encode_template("<s>hello")
    assert max(tokenizer.encode_texts(["<image>"])[0]) < len(raw) - 1
    with pytest.raises(ConfigError, match="gives special tokens of a template ids up to"):
        tokenizer.encode_template("<image>hello")


def test_a_saved_tokenizer_beside_a_model_is_checked_against_that_model(tmp_path: Path) -> None:
    folder, beside = tiny_model("bert", tmp_path / "bert"), tmp_path / "tokenizer"
    words_tokenizer(["good", *(f"word{i}" for i in range(400))]).save(beside)
    with pytest.raises(ConfigError, match="not of one model"):
        load_pretrained(str(folder), tokenizer_folder=beside)
    shutil.rmtree(beside)
    beside.mkdir()
    with pytest.raises(ModelNotFoundError, match="has no vocabulary"):
        load_pretrained(str(folder), tokenizer_folder=beside)


def test_a_vocabulary_that_needs_another_package_says_which(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "llama")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "LlamaTokenizer"}))
    with pytest.raises(ModelNotFoundError, match="cannot be loaded: "):
        load_pretrained(str(folder))
