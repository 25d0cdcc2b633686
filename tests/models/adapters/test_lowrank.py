"""LoRA layers as one operation, against PEFT's own."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import nn

from adjudge.models.adapters import add_lora, linear_layers, load_adapter, save_adapter
from adjudge.models.adapters.lowrank import LowRankLinear, forget_waiting, fuse_lora, round_frozen, unfuse_lora
from tests.models.engine import one_by_one as ref


def adapted(folder: Path, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    """A tiny Llama with random LoRA weights on all of its linear layers."""
    trunk = ref.load_trunk(ref.model_folder("llama", folder), dtype)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        settings = {"rank": 3, "alpha": 6.0, "dropout": 0.0, "targets": linear_layers(trunk, "all"), **options}
        add_lora(trunk, **settings)
        for name, parameter in trunk.named_parameters():
            if "lora_" in name:
                parameter.data = (torch.randn(parameter.shape, dtype=torch.float64) * 0.1).to(parameter.dtype)
    return trunk.to(dtype)


def answers(trunk: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Hidden states of some ids, and the gradient of every trainable weight."""
    trunk.zero_grad(set_to_none=True)
    ids = torch.tensor([[5, 9, 33, 7, 7, 60]])
    hidden = trunk(input_ids=ids, use_cache=False).last_hidden_state
    hidden.float().square().sum().backward() if hidden.dtype != torch.float64 else hidden.square().sum().backward()
    found = {name: p.grad.clone() for name, p in trunk.named_parameters() if p.grad is not None}
    return hidden.detach(), found


def test_states_and_gradients_are_those_of_peft(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama")
    expected, wanted = answers(trunk)
    assert fuse_lora(trunk) == 14
    assert not any(isinstance(module, PeftLinear) for module in trunk.modules())
    found, got = answers(trunk)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert got.keys() == wanted.keys()
    for name in wanted:
        assert "lora_" in name
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-10, atol=1e-12)


def test_layers_that_read_the_same_states_are_one_operation(tmp_path: Path) -> None:
    """Queries, keys and values; gate and up: five operations less in each of the two layers, with the same answers."""
    trunk = adapted(tmp_path / "llama")
    fuse_lora(trunk)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        answers(trunk)
    assert sum(event.count for event in seen.key_averages() if event.key == "_LowRank") == 2 * 4


def test_whoever_comes_with_other_states_gets_an_answer_of_his_own(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama")
    gate, up = (trunk.get_submodule(f"layers.0.mlp.{name}_proj") for name in ("gate", "up"))
    first, second = torch.ones(1, 2, 32, dtype=torch.float64), torch.full((3, 32), 2.0, dtype=torch.float64)
    expected = [gate(first), up(second), up(first), gate(first)]
    fuse_lora(trunk)
    gate, up = (trunk.get_submodule(f"layers.0.mlp.{name}_proj") for name in ("gate", "up"))
    found = [gate(first), up(second), up(first), gate(first)]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert gate.family is None  # nothing waits, and nothing is computed for others again
    assert up.family is None


def test_layers_that_read_states_of_other_widths_are_no_family(tmp_path: Path) -> None:
    """MobileBERT's values are made of the whole states, its queries and keys of narrow ones."""
    from transformers import MobileBertConfig, MobileBertModel

    sizes = {"vocab_size": 64, "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16}
    config = MobileBertConfig(**sizes, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = MobileBertModel(config).eval()
        attention = "encoder.layer.0.attention.self"
        targets = [f"{attention}.{name}" for name in ("query", "key", "value")]
        add_lora(trunk, rank=2, alpha=4.0, dropout=0.0, targets=targets)
    ids = torch.tensor([[5, 9, 33]])
    with torch.no_grad():
        expected = trunk(input_ids=ids).last_hidden_state
        fuse_lora(trunk)
        torch.testing.assert_close(trunk(input_ids=ids).last_hidden_state, expected)
    families = [trunk.get_submodule(name).family for name in targets]
    assert families[0] is families[1] is not None
    assert families[2] is None


def test_what_waits_can_be_forgotten(tmp_path: Path) -> None:
    """A pass that failed between two members must not keep what it computed."""
    trunk = adapted(tmp_path / "llama")
    fuse_lora(trunk)
    x = torch.ones(2, 32, dtype=torch.float64)
    held = weakref.ref(x)
    trunk.get_submodule("layers.0.mlp.gate_proj")(x)
    del x
    assert held() is not None
    forget_waiting(trunk)
    assert held() is None


def test_no_rows_give_no_outputs(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama")
    fuse_lora(trunk)
    assert trunk.get_submodule("layers.0.mlp.up_proj")(torch.ones(0, 32, dtype=torch.float64)).shape == (0, 64)


def test_what_a_layer_returns_may_be_changed_in_place(tmp_path: Path) -> None:
    """As DeBERTa adds its biases to queries and values."""
    trunk = adapted(tmp_path / "llama")
    layer, x = trunk.get_submodule("layers.0.mlp.up_proj"), torch.ones(1, 2, 32, dtype=torch.float64)
    expected = layer(x) + 1
    fuse_lora(trunk)
    found = trunk.get_submodule("layers.0.mlp.up_proj")(x)
    found += 1
    found.sum().backward()
    torch.testing.assert_close(found, expected)


def test_in_bfloat16_it_is_as_near_to_the_truth_as_peft(tmp_path: Path) -> None:
    truth, _ = answers(adapted(tmp_path / "llama"))
    trunk = adapted(tmp_path / "llama", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        peft, _ = answers(trunk)
        fuse_lora(trunk)
        round_frozen(trunk, torch.bfloat16)
        fused, gradients = answers(trunk)
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
    error, peft_error = ((state.double() - truth).abs().max() / truth.abs().max() for state in (fused, peft))
    assert error <= 1.5 * peft_error
    assert error < 0.03


def test_frozen_weights_are_rounded_once_and_answers_stay(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama", torch.float32)
    fuse_lora(trunk)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before, _ = answers(trunk)
        round_frozen(trunk, torch.bfloat16)
        after, _ = answers(trunk)
    assert torch.equal(before, after)
    for name, parameter in trunk.named_parameters():
        assert parameter.dtype == (torch.bfloat16 if "base_layer" in name else torch.float32), name


def test_weights_whose_norm_dora_measures_are_not_rounded(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama", torch.float32, variant="dora", targets=["layers.0.mlp.up_proj"])
    round_frozen(trunk, torch.bfloat16)
    assert trunk.get_parameter("layers.0.mlp.up_proj.base_layer.weight").dtype == torch.float32
    assert trunk.get_parameter("layers.0.mlp.down_proj.weight").dtype == torch.bfloat16


def test_saved_and_loaded_under_the_names_of_peft(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama", torch.float32)
    expected, _ = answers(trunk)
    fuse_lora(trunk)
    save_adapter(trunk, tmp_path / "adapter")
    fresh = ref.load_trunk(tmp_path / "llama", torch.float32)
    load_adapter(fresh, tmp_path / "adapter")
    found, _ = answers(fresh)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_unfusing_puts_the_very_layers_back(tmp_path: Path) -> None:
    trunk = adapted(tmp_path / "llama")
    before = {name: module for name, module in trunk.named_modules() if isinstance(module, PeftLinear)}
    fuse_lora(trunk)
    assert sum(isinstance(module, LowRankLinear) for module in trunk.modules()) == len(before)
    unfuse_lora(trunk)
    assert {name: m for name, m in trunk.named_modules() if isinstance(m, PeftLinear)} == before


@pytest.mark.parametrize("options", [{"dropout": 0.1}, {"variant": "dora"}])
def test_layers_that_do_more_stay_as_they_are(tmp_path: Path, options: dict[str, Any]) -> None:
    assert fuse_lora(adapted(tmp_path / "llama", torch.float32, **options)) == 0
