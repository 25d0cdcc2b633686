"""IA3, AdaLoRA and LoRA's variants against the PEFT library's own models, and their saved forms in plain PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import nn
from transformers import AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.adapters import add_lora, load_adapter, resolve_targets, save_adapter
from adjudge.models.adapters.injected import add_adalora, add_ia3
from adjudge.models.adapters.target_layers import linear_layers
from adjudge.models.derive.folding import fold
from tests.models.adapters.test_against_single_rows import FRESH, ia3, lora
from tests.models.engine import one_by_one as ref
from tests.tiny_architectures import tiny_architecture

IDS = torch.tensor([[30, 41, 52, 63, 74]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ref.model_folder("llama", tmp_path_factory.mktemp("injected") / "llama")


def plain(folder: Path) -> nn.Module:
    trunk: nn.Module = AutoModel.from_pretrained(folder).eval()
    return trunk


def moved(trunk: nn.Module) -> nn.Module:
    """Trained a little: every learning weight off its start."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for parameter in trunk.parameters():
            if parameter.requires_grad:
                parameter.data += 0.1 * torch.randn_like(parameter)
    return trunk.eval()


def states(trunk: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = trunk(input_ids=IDS).last_hidden_state
    return found


CONFIGS: dict[str, Any] = {
    "lora": peft.LoraConfig(r=2, lora_alpha=6, target_modules="all-linear", task_type="FEATURE_EXTRACTION"),
    "dora": peft.LoraConfig(
        r=2, lora_alpha=6, target_modules="all-linear", use_dora=True, task_type="FEATURE_EXTRACTION"
    ),
    "ia3": peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        task_type="FEATURE_EXTRACTION",
    ),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_states_and_gradients_are_those_of_peft(name: str, folder: Path) -> None:
    ours = plain(folder)
    with torch.random.fork_rng():
        FRESH[name](ours)
    moved(ours)
    theirs = peft.get_peft_model(plain(folder), CONFIGS[name]).eval()
    prefix = "base_model.model."
    reference = {key.removeprefix(prefix): p for key, p in theirs.named_parameters() if p.requires_grad}
    own = {key: p for key, p in ours.named_parameters() if p.requires_grad}
    assert own.keys() == reference.keys()
    for key, parameter in reference.items():
        parameter.data.copy_(own[key].data)
    assert torch.equal(states(ours), states(theirs))
    wanted = ref.gradients(theirs, [theirs(input_ids=IDS).last_hidden_state])
    got = ref.gradients(ours, [ours(input_ids=IDS).last_hidden_state])
    assert got.keys() == {key.removeprefix(prefix) for key in wanted}
    assert all(torch.equal(got[key.removeprefix(prefix)], wanted[key]) for key in wanted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dora", "ia3", "adalora"])
def test_a_saved_adapter_loads_here_and_in_plain_peft(name: str, folder: Path, tmp_path: Path) -> None:
    trunk = plain(folder)
    with torch.random.fork_rng():
        FRESH[name](trunk)
    expected = states(moved(trunk))
    save_adapter(trunk, tmp_path / "adapter")
    here = plain(folder)
    load_adapter(here, tmp_path / "adapter")
    assert torch.equal(states(here.eval()), expected)
    there = peft.PeftModel.from_pretrained(plain(folder), str(tmp_path / "adapter")).eval()
    assert torch.equal(states(there), expected)


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_pissa_starts_from_the_largest_singular_directions(rank_stabilised: bool, folder: Path) -> None:
    trunk, base = plain(folder), plain(folder)
    lora(trunk, variant="pissa", rank_stabilised=rank_stabilised)
    layer: Any = trunk.get_submodule("layers.0.mlp.up_proj")
    weight = base.get_parameter("layers.0.mlp.up_proj.weight")
    left, values, right = torch.linalg.svd(weight.detach())
    update = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(update.detach(), left[:, :2] @ values[:2].diag() @ right[:2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close((layer.base_layer.weight + update).detach(), weight.detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(states(trunk.eval()), states(base), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_pissa_is_saved_as_the_difference_to_the_untouched_base(
    rank_stabilised: bool, folder: Path, tmp_path: Path
) -> None:
    trunk = plain(folder)
    lora(trunk, variant="pissa", rank_stabilised=rank_stabilised)
    expected = states(moved(trunk))
    save_adapter(trunk, tmp_path / "adapter")
    here = plain(folder)
    load_adapter(here, tmp_path / "adapter")
    torch.testing.assert_close(states(here.eval()), expected, atol=1e-5, rtol=1e-5)
    there = peft.PeftModel.from_pretrained(plain(folder), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(states(there), expected, atol=1e-5, rtol=1e-5)
    save_adapter(here, tmp_path / "again")
    first, second = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("adapter", "again"))
    assert first == second


def test_adalora_is_three_factors_by_the_formula(folder: Path) -> None:
    """h = W x + (alpha / r) B (E ∘ A) x, equation 3 with a scale (PEFT adds 1e-5 to r)."""
    trunk, base = plain(folder), plain(folder)
    targets = linear_layers(trunk, "mlp")
    with torch.random.fork_rng():
        add_adalora(trunk, start_rank=3, rank=2, alpha=6, dropout=0.0, targets=targets)
    moved(trunk)
    x = torch.linspace(-1, 1, 32)[None]
    layer: Any = trunk.get_submodule(targets[0])
    a, b, e = (getattr(layer, f"lora_{part}")["default"].detach() for part in "ABE")
    weight = base.get_parameter(f"{targets[0]}.weight").detach()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x @ (weight + 6 / (3 + 1e-5) * b @ (e * a)).T)


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ref.model_folder("mixtral", tmp_path_factory.mktemp("mixture") / "mixtral")


def test_experts_and_router_of_a_mixture_learn_and_load_in_plain_peft(mixtral: Path, tmp_path: Path) -> None:
    trunk = plain(mixtral)
    targets = resolve_targets(trunk, ["attention", "experts", "router"])
    assert len(targets.layers) == 8
    assert len(targets.parameters) == 2 * 2 + 2
    before = states(trunk)
    add_lora(trunk, rank=2, alpha=4, dropout=0.0, targets=targets)
    assert torch.equal(states(trunk.eval()), before)
    learning = [name for name, p in trunk.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * len(targets.names)
    assert sum("mlp.experts" in name for name in learning) == 2 * 4
    assert sum("mlp.gate" in name for name in learning) == 2 * 2
    expected = states(moved(trunk))
    gradients = ref.gradients(trunk, [trunk(input_ids=IDS).last_hidden_state])
    assert all(bool(gradients[name].any()) for name in learning if "gate" not in name)
    save_adapter(trunk, tmp_path / "adapter")
    here = plain(mixtral)
    load_adapter(here, tmp_path / "adapter")
    assert torch.equal(states(here.eval()), expected)
    there = peft.PeftModel.from_pretrained(plain(mixtral), str(tmp_path / "adapter")).eval()
    assert torch.equal(states(there), expected)


@pytest.mark.parametrize("options", [{"dropout": 0.1}, {"dropout": 0.0, "variant": "dora"}])
def test_what_experts_cannot_do_is_refused(options: dict[str, Any], mixtral: Path) -> None:
    trunk = plain(mixtral)
    with pytest.raises(ConfigError, match=r"work on linear layers alone, not on 'layers.0.mlp.experts.\w+'"):
        add_lora(trunk, rank=2, alpha=4, targets=resolve_targets(trunk, "experts"), **options)


def test_fused_keys_and_values_are_scaled_together(tmp_path: Path) -> None:
    trunk = plain(ref.model_folder("gpt_neox", tmp_path / "gpt_neox"))
    ia3(trunk)
    learning = [name.partition(".ia3_l")[0] for name, p in trunk.named_parameters() if p.requires_grad]
    assert learning == [
        f"layers.{i}.{name}" for i in (0, 1) for name in ("attention.query_key_value", "mlp.dense_4h_to_h")
    ]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_architecture("gpt2", tmp_path_factory.mktemp("transposed") / "gpt2")


@pytest.mark.parametrize("kind", ["plain", "dora", "pissa", "ia3", "adalora"])
def test_layers_with_transposed_weights_are_adapted_loaded_and_folded(kind: str, gpt2: Path, tmp_path: Path) -> None:
    trunk = plain(gpt2)
    if kind == "ia3":
        add_ia3(trunk, keys_values=["h.0.attn.c_attn", "h.1.attn.c_attn"], mlp=["h.0.mlp.c_proj", "h.1.mlp.c_proj"])
    elif kind == "adalora":
        with torch.random.fork_rng():
            add_adalora(trunk, start_rank=3, rank=2, alpha=6, dropout=0.0, targets=linear_layers(trunk, "all"))
    else:
        lora(trunk, variant=kind)
    torch.testing.assert_close(states(trunk.eval()), states(plain(gpt2)), atol=1e-5, rtol=1e-5)
    expected = states(moved(trunk))
    assert not torch.allclose(expected, states(plain(gpt2)), atol=1e-3)
    save_adapter(trunk, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["fan_in_fan_out"] is True
    here = plain(gpt2)
    load_adapter(here, tmp_path / "adapter")
    torch.testing.assert_close(states(here.eval()), expected, atol=1e-5, rtol=1e-5)
    there = peft.PeftModel.from_pretrained(plain(gpt2), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(states(there), expected, atol=1e-5, rtol=1e-5)
    fold(here, "lora")
    torch.testing.assert_close(states(here), expected, atol=1e-5, rtol=1e-5)
    assert here.state_dict().keys() == plain(gpt2).state_dict().keys()


def test_layers_are_not_taken_for_those_of_older_versions_of_an_architecture(tmp_path: Path) -> None:
    """PEFT takes ``gate_proj`` of a mixture for a part of its experts; here there is a gate in the attention too."""
    folder = tiny_architecture("afmoe", tmp_path / "afmoe")
    trunk = plain(folder)
    targets = resolve_targets(trunk, "all")
    assert any(name.endswith("self_attn.gate_proj") for name in targets.layers)
    add_lora(trunk, rank=2, alpha=4, dropout=0.0, targets=targets)
    learning = {name for name, p in trunk.named_parameters() if p.requires_grad}
    assert all(any(name.startswith(f"{layer}.lora_B") for name in learning) for layer in targets.layers)
    expected = states(moved(trunk))
    save_adapter(trunk, tmp_path / "adapter")
    here = plain(folder)
    load_adapter(here, tmp_path / "adapter")
    assert torch.equal(states(here.eval()), expected)
