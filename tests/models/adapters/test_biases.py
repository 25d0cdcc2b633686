"""BitFit: what learns, where biases are new, and that they load again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters import load_adapter, save_adapter
from adjudge.models.adapters.biases import train_biases
from adjudge.models.adapters.target_layers import linear_layers
from tests.tiny_models import tiny_model

IDS = torch.tensor([[30, 41, 52, 63, 74]])


def test_a_models_own_biases_learn_and_nothing_else(tmp_path: Path) -> None:
    trunk = AutoModel.from_pretrained(tiny_model("bert", tmp_path / "bert"))
    biases = [name for name, _ in trunk.named_parameters() if name.endswith(".bias")]
    assert sorted(train_biases(trunk)) == sorted(biases)
    assert {name for name, parameter in trunk.named_parameters() if parameter.requires_grad} == set(biases)


def test_layers_without_a_bias_get_one_of_zeros(tmp_path: Path) -> None:
    trunk = AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama"))
    with pytest.raises(ConfigError, match="no biases to train; set new_biases: all, or use lora"):
        train_biases(trunk)
    layers = linear_layers(trunk, "mlp")
    assert train_biases(trunk, layers) == [f"{name}.bias" for name in layers]
    assert not any(bool(trunk.get_parameter(f"{name}.bias").any()) for name in layers)


@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
def test_saved_biases_load_again(architecture: str, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / architecture)
    trunk, here = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    train_biases(trunk, linear_layers(trunk, "all"))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in trunk.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
        expected = trunk(input_ids=IDS).last_hidden_state
    save_adapter(trunk, tmp_path / "adapter")
    load_adapter(here, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(here(input_ids=IDS).last_hidden_state, expected)
