"""A trunk's parts, found by running it and not by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.anatomy import attention_layers, layer_ends, stem
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
    calls, ends = attention_layers(trunk, (5, 6, 7, 8)), layer_ends(trunk)
    sources, attention, mlp = EXPECTED[architecture]
    assert len(calls) == len(ends.attention) == len(ends.mlp) == 2
    first = calls[0]
    before = ends.attention[0].removesuffix(attention)
    assert [name.removeprefix(before) for name in first.sources] == sources
    assert ends.mlp[0] == before + mlp
    assert first.keys.shape == first.values.shape == (4, first.keys.shape[1], 8)
    assert trunk.config._attn_implementation == native
    assert trunk.training
    assert not any(module._forward_hooks for module in trunk.modules())


def test_values_are_those_of_the_tokens(tmp_path: Path) -> None:
    trunk: Any = AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama")).eval()
    first = attention_layers(trunk, (5, 6, 7))[0]
    with torch.no_grad():
        layer = trunk.layers[0]
        states = layer.input_layernorm(trunk.embed_tokens(torch.tensor([5, 6, 7])))
        torch.testing.assert_close(first.values.flatten(1), layer.self_attn.v_proj(states))


def test_attention_that_cannot_be_reached_is_refused() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=300, hidden_size=32, n_layer=1, n_head=4)
    trunk = AutoModel.from_config(config)
    with pytest.raises(ConfigError, match="BloomModel computes its attention by itself"):
        attention_layers(trunk)
    assert layer_ends(trunk).mlp == ("h.0.mlp.dense_4h_to_h",)  # which does not need to see the attention


def test_what_fails_while_it_is_traced_is_refused_and_left_as_it_was() -> None:
    config = AutoConfig.for_model("ctrl", vocab_size=300, n_embd=32, n_layer=1, n_head=4, dff=64, n_positions=64)
    trunk = AutoModel.from_config(config).train()
    native = config._attn_implementation
    with pytest.raises(ConfigError, match=r"its keys and values cannot be reached \(a leaf Variable"):
        attention_layers(trunk)
    assert config._attn_implementation == native
    assert trunk.training
    assert not any(module._forward_hooks for module in trunk.modules())


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("encoder.layer.3.output.dense", "encoder.layer.3"),
        ("encoder.blocks.0.1.ffn.linear_2", "encoder.blocks.0.1"),
        ("layers.10.mlp.experts.3.down_proj", "layers.10"),
        ("embed_tokens", "embed_tokens"),
    ],
)
def test_a_layer_is_named_up_to_its_number(name: str, layer: str) -> None:
    assert stem(name) == layer


def test_layers_of_encoder_and_decoder_are_not_taken_for_each_other() -> None:
    sizes = {"d_model": 32, "vocab_size": 300, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    ends = layer_ends(AutoModel.from_config(AutoConfig.for_model("bart", **sizes, **heads)))
    assert ends.mlp == ("encoder.layers.0.fc2", "decoder.layers.0.fc2")
