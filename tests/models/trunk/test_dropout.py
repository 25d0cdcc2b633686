"""A model's own dropout: set rates reach what is run in training, and prediction never drops anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from adjudge.core.errors import ConfigError
from adjudge.models.engine.engine import Engine
from adjudge.models.trunk.dropout import attention_dropout, dropout_rates, set_dropout
from adjudge.models.trunk.loading import load_pretrained
from tests.models.engine.one_by_one import BATCHES, PREFIX
from tests.tiny_models import FAMILIES, tiny_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dropout")


def states(folder: Path, architecture: str, rate: float | None, *, training: bool) -> torch.Tensor:
    found = folder / architecture
    path = found if found.is_dir() else tiny_model(architecture, found)
    trunk = load_pretrained(str(path), dropout=rate).trunk
    engine = Engine(trunk, causal=FAMILIES[architecture].causal)
    assert engine.path == "packed"
    trunk.train(training)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        run = engine.states(BATCHES["mixed lengths"], PREFIX)
    return run.hidden[run.answer]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_rate_reaches_the_modules_in_training_and_no_prediction(architecture: str, folders: Path) -> None:
    still = states(folders, architecture, None, training=False)
    torch.testing.assert_close(states(folders, architecture, 0.5, training=False), still, rtol=0, atol=0)
    torch.testing.assert_close(states(folders, architecture, 0.0, training=True), still, rtol=0, atol=0)
    assert not torch.allclose(states(folders, architecture, 0.5, training=True), still, atol=1e-3)


def test_rates_are_found_by_their_names_and_those_of_other_heads_are_not() -> None:
    assert dropout_rates(AutoConfig.for_model("bert")) == {
        "attention_probs_dropout_prob": 0.1,
        "hidden_dropout_prob": 0.1,
    }
    assert dropout_rates(AutoConfig.for_model("gpt2")) == {"attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1}
    modern = {"attention_dropout": 0.0, "embedding_dropout": 0.0, "mlp_dropout": 0.0}
    assert dropout_rates(AutoConfig.for_model("modernbert")) == modern


def test_the_rate_of_attention_goes_before_that_of_everything() -> None:
    config = AutoConfig.for_model("bert")
    assert set_dropout(config, 0.2, 0.0) == {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.2}
    assert attention_dropout(config) == 0.0
    alone = set_dropout(AutoConfig.for_model("bert"), None, 0.3)
    assert alone == {"attention_probs_dropout_prob": 0.3, "hidden_dropout_prob": 0.1}
    untouched = AutoConfig.for_model("bert")
    assert set_dropout(untouched, None, None) == {}
    assert attention_dropout(untouched) == 0.1


def test_dropout_that_an_architecture_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="attention_dropout: models of type 'mamba' have no dropout"):
        set_dropout(AutoConfig.for_model("mamba"), None, 0.1)
