"""Low-rank adapters: where they sit, what they compute, and that they load again, here and in plain PEFT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters import add_lora, linear_layers, load_adapter, save_adapter
from tests.tiny_models import FAMILIES, tiny_model

DENSE = [name for name in FAMILIES if name != "mixtral"]
IDS = torch.tensor([[30, 41, 52, 63, 74]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


def trunk_of(architecture: str, folders: Path) -> nn.Module:
    folder = folders / architecture
    if not folder.is_dir():
        tiny_model(architecture, folder)
    trunk: nn.Module = AutoModel.from_pretrained(folder).eval()
    return trunk


def states(trunk: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return trunk(input_ids=IDS).last_hidden_state


def adapted(trunk: nn.Module, *, noise: float = 0.2, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        add_lora(trunk, **{"rank": 2, "alpha": 6, "dropout": 0.0, "targets": linear_layers(trunk, "all"), **options})
        for name, parameter in trunk.named_parameters():
            if "lora_B" in name and noise:
                nn.init.normal_(parameter, std=noise)
    return trunk.eval()


@pytest.mark.parametrize("architecture", DENSE)
def test_roles_share_out_the_linear_layers(architecture: str, folders: Path) -> None:
    trunk = trunk_of(architecture, folders)
    attention, mlp, every = (linear_layers(trunk, role) for role in ("attention", "mlp", "all"))
    assert set(attention).isdisjoint(mlp)
    assert sorted([*attention, *mlp]) == sorted(every)
    linear = {name for name, module in trunk.named_modules() if isinstance(module, nn.Linear)}
    assert {name for name in linear if "pooler" not in name} == set(every)


def test_berts_attention_is_its_projections_and_their_output(folders: Path) -> None:
    first = [name for name in linear_layers(trunk_of("bert", folders), "attention") if ".0." in name]
    assert [name.removeprefix("encoder.layer.0.attention.") for name in first] == [
        "self.query",
        "self.key",
        "self.value",
        "output.dense",
    ]


@pytest.mark.parametrize("architecture", DENSE)
@pytest.mark.parametrize("role", ["attention", "mlp", "all"])
def test_every_layer_of_a_requested_role_ends_with_trainable_tensors(
    architecture: str, role: str, folders: Path
) -> None:
    trunk = trunk_of(architecture, folders)
    targets = linear_layers(trunk, role)
    adapted(trunk, targets=targets)
    trainable = {name for name, parameter in trunk.named_parameters() if parameter.requires_grad}
    expected = {f"{name}.lora_{part}.default.weight" for name in targets for part in "AB"}
    assert trainable == expected


@pytest.mark.parametrize("role", ["mlp", "all"])
def test_experts_that_would_stay_as_they_are_are_an_error_with_their_share(role: str, folders: Path) -> None:
    """A mixture's experts are one 3-D tensor, which adapters on linear layers pass by without a word."""
    trunk = trunk_of("mixtral", folders)
    assert linear_layers(trunk, "attention")
    with pytest.raises(ConfigError, match=rf"targets: '{role}' would leave out \d\d% .*targets: attention"):
        linear_layers(trunk, role)


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_forward_and_gradient_are_those_of_the_formula(rank_stabilised: bool) -> None:
    """h = W x + b + scale · B A x, with scale alpha / r, or alpha / sqrt(r)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Linear(5, 4)).double()
        x = torch.randn(7, 5, dtype=torch.float64)
        add_lora(trunk, rank=4, alpha=6, dropout=0.0, targets=["0"], rank_stabilised=rank_stabilised)
    layer = trunk[0].double()
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    b.data = torch.linspace(-1, 1, b.numel(), dtype=torch.float64).reshape(b.shape)
    scale = 6 / 2 if rank_stabilised else 6 / 4
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    found = trunk(x)
    torch.testing.assert_close(found, x @ (weight + scale * b @ a).T + bias, rtol=1e-12, atol=1e-12)
    upstream = torch.cos(found.detach())
    found.backward(upstream)
    torch.testing.assert_close(a.grad, scale * b.T @ upstream.T @ x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(b.grad, scale * upstream.T @ (x @ a.T), rtol=1e-12, atol=1e-12)
    assert weight.grad is None
    assert bias.grad is None


@pytest.mark.parametrize("architecture", DENSE)
def test_a_fresh_adapter_is_the_base_model_bit_for_bit(architecture: str, folders: Path) -> None:
    trunk = trunk_of(architecture, folders)
    before = states(trunk)
    assert torch.equal(states(adapted(trunk, noise=0)), before)


@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt_neox"])
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_a_saved_adapter_loads_here_and_in_plain_peft(
    architecture: str, rank_stabilised: bool, folders: Path, tmp_path: Path
) -> None:
    trunk = adapted(trunk_of(architecture, folders), rank_stabilised=rank_stabilised)
    expected = states(trunk)
    assert not torch.allclose(expected, states(trunk_of(architecture, folders)))
    save_adapter(trunk, tmp_path / "adapter")
    here = trunk_of(architecture, folders)
    load_adapter(here, tmp_path / "adapter")
    assert torch.equal(states(here.eval()), expected)
    there = PeftModel.from_pretrained(trunk_of(architecture, folders), str(tmp_path / "adapter")).eval()
    assert torch.equal(states(there), expected)


def test_a_saved_adapter_is_the_same_bytes_after_loading(folders: Path, tmp_path: Path) -> None:
    save_adapter(adapted(trunk_of("llama", folders)), tmp_path / "first")
    again = trunk_of("llama", folders)
    load_adapter(again, tmp_path / "first")
    save_adapter(again, tmp_path / "second")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_an_adapter_of_another_model_is_refused(folders: Path, tmp_path: Path) -> None:
    save_adapter(adapted(trunk_of("llama", folders)), tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, file)
    with pytest.raises(ConfigError, match="1 tensors missing, 0 left over"):
        load_adapter(trunk_of("llama", folders), tmp_path / "adapter")
    save_file({**tensors, "base_model.model.layers.9.x.lora_A.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(ConfigError, match="0 tensors missing, 1 left over"):
        load_adapter(trunk_of("llama", folders), tmp_path / "adapter")


def test_the_config_names_what_peft_needs(folders: Path, tmp_path: Path) -> None:
    save_adapter(adapted(trunk_of("llama", folders)), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 6)
    assert all(
        key.startswith("base_model.model.") for key in load_file(tmp_path / "adapter/adapter_model.safetensors")
    )


def test_only_the_last_layers_can_be_adapted(folders: Path) -> None:
    trunk = trunk_of("llama", folders)
    last = linear_layers(trunk, "all", last_layers=1)
    assert last == [name for name in linear_layers(trunk, "all") if name.startswith("layers.1.")]
