"""What the methods on networks share: prompts within the model's positions, and heads that fit the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.methods.method import Setting
from adjudge.models.assembly import HeadConfig, build_head, choose_prompt
from adjudge.models.classifiers.neural import build_network
from adjudge.models.engine.heads import LabelHead, ScoreHead
from adjudge.models.trunk.loading import Pretrained, load_pretrained
from tests.tiny_models import FAMILIES, tiny_model

SETTING = Setting(Task(name="t"), ("good", "bad", "really bad and so on"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def load(architecture: str, folders: Path) -> Pretrained:
    folder = folders / architecture
    return load_pretrained(str(folder if folder.is_dir() else tiny_model(architecture, folder)))


@pytest.mark.parametrize("architecture", list(FAMILIES))
def test_the_longest_prompt_and_answer_fit_the_positions(architecture: str, folders: Path) -> None:
    pretrained = load(architecture, folders)
    prompt = choose_prompt(pretrained, "auto", 100_000, SETTING)
    longest = max(map(len, prompt.answer_ids))
    assert prompt.max_tokens + longest <= pretrained.trunk.config.max_position_embeddings
    head = build_head(
        pretrained, prompt, HeadConfig(kind="label" if pretrained.kind == "causal" else "score"), SETTING
    )
    rows = prompt.encode(["word " * 1000], pretrained.tokenizer)
    assert rows[0].truncated
    logits = build_network(pretrained, head, prompt, "float32").predict_logits(rows, 3)
    assert logits.shape == (1, 3)


def test_a_smaller_limit_of_the_users_is_kept(folders: Path) -> None:
    assert choose_prompt(load("llama", folders), "plain", 200, SETTING).max_tokens == 200


def test_an_encoder_reads_the_bare_text(folders: Path) -> None:
    encoder = load("bert", folders)
    assert choose_prompt(encoder, "auto", 100, SETTING).kind == "bare"
    for style in ("plain", "chat"):
        with pytest.raises(ConfigError, match="needs a causal model"):
            choose_prompt(encoder, style, 100, SETTING)


@pytest.mark.parametrize("config", [HeadConfig(kind="label"), HeadConfig(init="label_words")])
@pytest.mark.parametrize(("architecture", "style"), [("bert", "auto"), ("llama", "bare")])
@pytest.mark.timeout(60)
def test_label_words_of_a_model_or_prompt_without_them_are_refused(
    config: HeadConfig, architecture: str, style: str, folders: Path
) -> None:
    pretrained = load(architecture, folders)
    prompt = choose_prompt(pretrained, style, 200, SETTING)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="need a causal model and a prompt with an answer slot"):
        build_head(pretrained, prompt, config, SETTING)


def test_label_rows_are_frozen_copies_unless_they_shall_learn(folders: Path) -> None:
    pretrained = load("llama", folders)
    prompt = choose_prompt(pretrained, "plain", 300, SETTING)
    frozen, learning = (
        build_head(pretrained, prompt, HeadConfig(kind="label", train_label_rows=learns), SETTING)
        for learns in (False, True)
    )
    assert isinstance(frozen, LabelHead)
    assert isinstance(learning, LabelHead)
    assert (frozen.rows.requires_grad, learning.rows.requires_grad) == (False, True)
    assert pretrained.output_rows is not None
    assert torch.equal(frozen.rows, pretrained.output_rows[list(frozen.trie.token_ids)])
    assert frozen.rows.data_ptr() != pretrained.output_rows.data_ptr()


def test_a_score_head_starts_from_the_label_words_mean_rows(folders: Path) -> None:
    pretrained = load("llama", folders)
    prompt = choose_prompt(pretrained, "plain", 300, SETTING)
    head = build_head(pretrained, prompt, HeadConfig(init="label_words"), SETTING)
    assert isinstance(head, ScoreHead)
    assert pretrained.output_rows is not None
    for row, ids in zip(head.linear.weight, prompt.answer_ids, strict=True):
        torch.testing.assert_close(row, pretrained.output_rows[list(ids)].mean(0))


@pytest.mark.parametrize(
    ("architecture", "style", "words"),
    [("llama", "plain", True), ("llama", "bare", False), ("bert", "auto", False)],
)
def test_a_score_head_starts_from_label_words_where_there_are_some(
    architecture: str, style: str, words: bool, folders: Path
) -> None:
    pretrained = load(architecture, folders)
    prompt = choose_prompt(pretrained, style, 200, SETTING)  # type: ignore[arg-type]
    own, other = (
        build_head(pretrained, prompt, HeadConfig(init=init), SETTING).linear.weight  # type: ignore[union-attr,arg-type]
        for init in ("auto", "label_words" if words else "random")
    )
    assert torch.equal(own, other)


def test_pooling_goes_by_kind_unless_said(folders: Path) -> None:
    for architecture, pooling in (("bert", "mean"), ("llama", "last")):
        pretrained = load(architecture, folders)
        prompt = choose_prompt(pretrained, "bare", 100, SETTING)
        assert build_head(pretrained, prompt, HeadConfig(), SETTING).pooling == pooling
        assert build_head(pretrained, prompt, HeadConfig(pooling="first"), SETTING).pooling == "first"
