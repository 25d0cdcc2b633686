"""A trunk's parts, found by running it and not by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.anatomy import study
from tests.tiny_models import tiny_model

EXPECTED = {
    "llama": (["self_attn.k_proj", "self_attn.v_proj"], "self_attn.o_proj", "mlp.down_proj"),
    "bert": (["attention.self.key", "attention.self.value"], "attention.output.dense", "output.dense"),
    "modernbert": (["attn.Wqkv"], "attn.Wo", "mlp.Wo"),
    "gpt_neox": (["attention.query_key_value"], "attention.dense", "mlp.dense_4h_to_h"),
    "mixtral": (["self_attn.k_proj", "self_attn.v_proj"], "self_attn.o_proj", "mlp.experts"),
    "gemma3": (["self_attn.k_proj", "self_attn.v_proj"], "self_attn.o_proj", "mlp.down_proj"),
}


@pytest.mark.parametrize("architecture", list(EXPECTED))
def test_keys_values_and_the_ends_of_each_half_are_found(architecture: str, tmp_path: Path) -> None:
    trunk: Any = AutoModel.from_pretrained(tiny_model(architecture, tmp_path / architecture))
    trunk.train()
    native = trunk.config._attn_implementation
    anatomy = study(trunk, (5, 6, 7, 8))
    sources, attention, mlp = EXPECTED[architecture]
    assert len(anatomy.attention) == len(anatomy.attention_outputs) == len(anatomy.mlp_outputs) == 2
    first = anatomy.attention[0]
    stem = anatomy.attention_outputs[0].removesuffix(attention)
    assert [name.removeprefix(stem) for name in first.sources] == sources
    assert anatomy.mlp_outputs[0] == stem + mlp
    assert first.keys.shape == first.values.shape == (4, first.keys.shape[1], 8)
    assert trunk.config._attn_implementation == native
    assert trunk.training
    assert not any(module._forward_hooks for module in trunk.modules())


def test_values_are_those_of_the_tokens(tmp_path: Path) -> None:
    trunk: Any = AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama")).eval()
    first = study(trunk, (5, 6, 7)).attention[0]
    with torch.no_grad():
        layer = trunk.layers[0]
        states = layer.input_layernorm(trunk.embed_tokens(torch.tensor([5, 6, 7])))
        torch.testing.assert_close(first.values.flatten(1), layer.self_attn.v_proj(states))


def test_attention_that_cannot_be_reached_is_refused() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=300, hidden_size=32, n_layer=1, n_head=4)
    with pytest.raises(ConfigError, match="BloomModel computes its attention by itself"):
        study(AutoModel.from_config(config))
