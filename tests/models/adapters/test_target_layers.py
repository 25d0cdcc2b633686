"""Roles by where weights stand: a mixture's experts and router, the last layers, and roles that a model has not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.target_layers import (
    depth,
    is_linear,
    layer_of,
    linear_layers,
    resolve_targets,
    transposed,
)
from tests.tiny_architectures import tiny_config
from tests.tiny_models import tiny_model


@pytest.fixture(scope="module")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nn.Module]:
    root = tmp_path_factory.mktemp("targets")
    return {name: AutoModel.from_pretrained(tiny_model(name, root / name)) for name in ("llama", "mixtral")}


def test_a_mixtures_roles(trunks: dict[str, nn.Module]) -> None:
    trunk = trunks["mixtral"]
    experts = [f"layers.{i}.mlp.experts.{name}" for i in (0, 1) for name in ("gate_up_proj", "down_proj")]
    routers = [f"layers.{i}.mlp.gate.weight" for i in (0, 1)]
    attention = resolve_targets(trunk, "attention").names
    assert resolve_targets(trunk, "experts").names == resolve_targets(trunk, "mlp").names == experts
    assert resolve_targets(trunk, "router").names == routers
    assert resolve_targets(trunk, "all").names == [*attention, *experts]
    assert resolve_targets(trunk, ["router", "attention"]).names == [*attention, *routers]


def test_the_last_layers_of_experts_too(trunks: dict[str, nn.Module]) -> None:
    found = resolve_targets(trunks["mixtral"], ["all", "router"], last_layers=1)
    assert {layer_of(name) for name in found.names} == {1}
    assert depth(trunks["mixtral"]) == 2


@pytest.mark.parametrize("role", ["experts", "router"])
def test_a_role_that_the_model_has_not_is_refused_with_those_it_has(role: str, trunks: dict[str, nn.Module]) -> None:
    with pytest.raises(ConfigError, match=f"no weights for the role '{role}'; it has: attention, mlp, all"):
        resolve_targets(trunks["llama"], ["attention", role])  # type: ignore[list-item]


def untrained(architecture: str) -> nn.Module:
    with torch.random.fork_rng():
        trunk: nn.Module = AutoModel.from_config(tiny_config(architecture))
    return trunk


def test_layers_with_transposed_weights_play_their_roles() -> None:
    trunk = untrained("gpt2")
    assert linear_layers(trunk, "attention") == [f"h.{i}.attn.{name}" for i in (0, 1) for name in ("c_attn", "c_proj")]
    assert linear_layers(trunk, "mlp") == [f"h.{i}.mlp.{name}" for i in (0, 1) for name in ("c_fc", "c_proj")]
    assert transposed(trunk, ["h.0.mlp.c_fc"])
    assert not transposed(untrained("bert"), ["encoder.layer.0.output.dense"])


def test_attention_without_linear_layers_is_refused_with_its_share_and_what_is_left() -> None:
    trunk = untrained("xlnet")
    for role in ("attention", "all"):
        with pytest.raises(
            ConfigError, match=r"attention of XLNetModel \(\d\d% of the layers' weights\).*use targets: mlp"
        ):
            resolve_targets(trunk, role)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^new_biases: the attention of .* use new_biases: mlp"):
        linear_layers(trunk, "all", option="new_biases")
    assert resolve_targets(trunk, "mlp").names == [f"layer.{i}.ff.layer_{k}" for i in (0, 1) for k in (1, 2)]


@pytest.mark.parametrize("architecture", ["convbert", "nystromformer", "mamba"])
def test_convolutions_are_no_experts(architecture: str) -> None:
    trunk = untrained(architecture)
    convolved = [name for name, p in trunk.named_parameters() if p.ndim > 2]
    assert convolved
    assert resolve_targets(trunk, "all").parameters == ()
    with pytest.raises(ConfigError, match="no weights for the role 'experts'"):
        resolve_targets(trunk, "experts")


@pytest.mark.parametrize(
    ("architecture", "layers"), [("mamba", ["in_proj"]), ("mamba2", ["in_proj"]), ("falcon_mamba", ["in_proj"])]
)
def test_of_state_space_mixers_what_reads_their_input_is_adapted(architecture: str, layers: list[str]) -> None:
    """Kernels take the weights of the others without calling the layers, so adapters there would do nothing."""
    found = resolve_targets(untrained(architecture), "all").names
    assert found == [f"layers.{i}.mixer.{name}" for i in (0, 1) for name in layers]


class Grouped(nn.Linear):
    """A layer by another rule: its input is wider than its weight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.unflatten(-1, (2, -1)) @ self.weight.T).flatten(-2)


class Scaled(nn.Linear):
    """A linear layer with something of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_what_is_derived_from_a_linear_layer_is_one_where_it_maps_as_one() -> None:
    assert is_linear(nn.Linear(4, 3))
    assert is_linear(Scaled(4, 3))
    assert not is_linear(Grouped(4, 3))
    assert not is_linear(nn.Conv1d(4, 3, 1))
    assert not is_linear(nn.LayerNorm(4))
