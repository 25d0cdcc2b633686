"""Every adapter, packed, against the same model on single rows: states and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adjudge.models.adapters.anatomy import attention_layers, layer_ends
from adjudge.models.adapters.biases import train_biases
from adjudge.models.adapters.bottleneck import add_bottlenecks
from adjudge.models.adapters.injected import add_adalora, add_ia3, add_lora
from adjudge.models.adapters.target_layers import linear_layers
from adjudge.models.engine.engine import Engine
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES


def lora(trunk: nn.Module, **options: Any) -> None:
    add_lora(trunk, rank=2, alpha=6, dropout=0.0, targets=linear_layers(trunk, "all"), **options)


def ia3(trunk: nn.Module) -> None:
    keys_values = list(dict.fromkeys(name for layer in attention_layers(trunk) for name in layer.sources))
    add_ia3(trunk, keys_values=keys_values, mlp=layer_ends(trunk).mlp)


def houlsby(trunk: nn.Module) -> None:
    ends = layer_ends(trunk)
    add_bottlenecks(trunk, [*ends.attention, *ends.mlp], width=3)


FRESH: dict[str, Callable[[nn.Module], Any]] = {
    "lora": lora,
    "dora": lambda trunk: lora(trunk, variant="dora"),
    "adalora": lambda trunk: add_adalora(
        trunk, start_rank=3, rank=2, alpha=6, dropout=0.0, targets=linear_layers(trunk, "all")
    ),
    "ia3": ia3,
    "houlsby": houlsby,
    "bitfit": lambda trunk: train_biases(trunk, linear_layers(trunk, "all")),
}
PISSA: dict[str, Callable[[nn.Module], Any]] = {"pissa": lambda trunk: lora(trunk, variant="pissa")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


def trunk_of(architecture: str, folders: Path, adapt: Callable[[nn.Module], Any], *, noise: float) -> nn.Module:
    trunk = ref.load_trunk(ref.model_folder(architecture, folders / architecture), torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        adapt(trunk.float())  # PiSSA starts from a decomposition that PEFT does in float32 alone
        trunk.double().eval()
        for parameter in trunk.parameters():
            if parameter.requires_grad:
                parameter.data += noise * torch.randn_like(parameter)
    return trunk


@pytest.mark.parametrize("architecture", ["llama", "bert", "gpt_neox"])
@pytest.mark.parametrize("name", [*FRESH, *PISSA])
def test_packed_states_and_gradients_are_those_of_single_rows(name: str, architecture: str, folders: Path) -> None:
    adapt, causal = {**FRESH, **PISSA}[name], FAMILIES[architecture].causal
    rows, paths = ref.BATCHES["mixed lengths"], ref.PATHS if causal else ()
    alone, packed = (trunk_of(architecture, folders, adapt, noise=0.1) for _ in range(2))
    engine = Engine(packed, causal=causal)
    assert engine.path == "packed", engine.reason
    expected = ref.reference(alone, rows, ref.PREFIX, paths, causal=causal)
    found = ref.parts(engine.states(rows, ref.PREFIX, paths))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, 1e-9, name)
    wanted, got = ref.gradients(alone, expected), ref.gradients(packed, found)
    learning = {n for n, p in alone.named_parameters() if p.requires_grad and "pooler" not in n}
    assert got.keys() == wanted.keys() == learning
    for parameter in wanted:
        ref.assert_close(got[parameter], wanted[parameter], 1e-9, parameter)


@pytest.mark.parametrize("architecture", ["llama", "bert", "modernbert"])
@pytest.mark.parametrize("name", list(FRESH))
def test_a_fresh_adapter_is_the_base_model_bit_for_bit(name: str, architecture: str, folders: Path) -> None:
    ids = torch.tensor([[30, 41, 52, 63, 74]])
    folder = ref.model_folder(architecture, folders / architecture)
    trunk = ref.load_trunk(folder, torch.float32)
    with torch.no_grad():
        before = trunk(input_ids=ids).last_hidden_state
        with torch.random.fork_rng():
            FRESH[name](trunk)
        assert torch.equal(trunk.eval()(input_ids=ids).last_hidden_state, before)
