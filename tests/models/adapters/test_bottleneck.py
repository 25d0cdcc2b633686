"""Bottlenecks: the formula by hand, where they sit, and that they load again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters import load_adapter, save_adapter
from adjudge.models.adapters.anatomy import layer_ends
from adjudge.models.adapters.bottleneck import Bottleneck, add_bottlenecks
from tests.tiny_models import tiny_model

IDS = torch.tensor([[30, 41, 52, 63, 74]])


@pytest.mark.parametrize(
    ("nonlinearity", "function"), [("relu", torch.relu), ("gelu", nn.functional.gelu), ("silu", nn.functional.silu)]
)
def test_forward_and_gradients_are_those_of_the_formula(nonlinearity: str, function: object) -> None:
    """h + U f(D h + d) + u with h = W x."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Bottleneck(nn.Linear(5, 4), 4, 3, nonlinearity).double()  # type: ignore[arg-type]
        for parameter in layer.parameters():
            parameter.data.normal_()
        x = torch.randn(7, 5, dtype=torch.float64)
    h = layer.base_layer(x).detach().requires_grad_()
    inner = function(h @ layer.down.weight.T + layer.down.bias)  # type: ignore[operator]
    expected = h + inner @ layer.up.weight.T + layer.up.bias
    found = layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.cos(found.detach())
    found.backward(upstream)
    torch.testing.assert_close(layer.up.weight.grad, upstream.T @ inner.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.up.bias.grad, upstream.sum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("architecture", ["llama", "bert", "mixtral"])
def test_saved_bottlenecks_load_again(architecture: str, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / architecture)
    trunk, here = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    ends = layer_ends(trunk)
    targets = [*ends.attention, *ends.mlp]
    add_bottlenecks(trunk, targets, width=3)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        before = trunk(input_ids=IDS).last_hidden_state
        for parameter in trunk.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
        expected = trunk(input_ids=IDS).last_hidden_state
    assert not torch.allclose(before, expected)
    save_adapter(trunk, tmp_path / "adapter")
    load_adapter(here, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(here(input_ids=IDS).last_hidden_state, expected)
    learning = {name for name, parameter in here.named_parameters() if parameter.requires_grad}
    assert learning == {
        f"{name}.{part}.{kind}" for name in targets for part in ("down", "up") for kind in ("weight", "bias")
    }


def test_bottlenecks_of_another_model_are_refused(tmp_path: Path) -> None:
    trunk, here = (AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama")) for _ in range(2))
    add_bottlenecks(trunk, layer_ends(trunk).mlp, width=3)
    save_adapter(trunk, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({**dict(list(tensors.items())[1:]), "base_model.model.x": torch.zeros(1)}, file)
    with pytest.raises(ConfigError, match="1 tensors missing, 1 left over"):
        load_adapter(here, tmp_path / "adapter")
