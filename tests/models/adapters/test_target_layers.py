"""Roles by where weights stand: a mixture's experts and router, the last layers, and roles that a model has not."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.target_layers import depth, layer_of, resolve_targets
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
