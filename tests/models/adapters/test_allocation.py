"""AdaLoRA's allocation against PEFT's, its penalty by hand, and that it goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft.tuners.adalora.layer import RankAllocator
from torch import nn
from transformers import AutoModel

from adjudge.models.adapters.allocation import RankAllocation, RankBudget
from adjudge.models.adapters.injected import add_adalora
from adjudge.models.adapters.target_layers import linear_layers
from tests.tiny_models import tiny_model

BUDGET = RankBudget(start=4, rank=2, total=20, warmup=2, final=6, every=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("allocation") / "llama")


def adapted(folder: Path) -> nn.Module:
    trunk: nn.Module = AutoModel.from_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        add_adalora(trunk, start_rank=4, rank=2, alpha=8, dropout=0.0, targets=linear_layers(trunk, "attention"))
        for name, parameter in trunk.named_parameters():
            if "lora_E" in name:
                parameter.data.normal_()
    return trunk


def step(trunk: nn.Module, number: int) -> None:
    """Stands in for an optimiser's: gradients and weights that depend on the step alone."""
    for i, parameter in enumerate(p for p in trunk.parameters() if p.requires_grad):
        wave = torch.sin(torch.arange(parameter.numel()) * 0.3 + number + i).reshape(parameter.shape)
        parameter.grad = wave
        parameter.data -= 0.05 * wave


def values(trunk: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trunk.named_parameters() if "lora_E" in name}


def test_the_budget_falls_with_the_cube_and_then_stays() -> None:
    left = {number: BUDGET.at(number, 10) for number in range(1, 21)}
    assert {number: value for number, value in left.items() if value is not None} == {
        3: 20 + int(20 * (11 / 12) ** 3),
        6: 20 + int(20 * (8 / 12) ** 3),
        9: 20 + int(20 * (5 / 12) ** 3),
        12: 20 + int(20 * (2 / 12) ** 3),
        14: 20,
    }
    assert RankBudget.of(12, 8, 1000) == RankBudget(12, 8, 1000, 100, 300, 10)


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_short_trainings_work(total: int, folder: Path) -> None:
    trunk = adapted(folder)
    allocation = RankAllocation(trunk, RankBudget.of(4, 2, total), 0.1)
    for number in range(1, total + 1):
        step(trunk, number)
        allocation.after_step(number)
    assert sum(allocation.ranks().values()) <= 4 * 8


def test_the_same_singular_values_are_taken_as_by_peft(folder: Path) -> None:
    ours, theirs = adapted(folder), adapted(folder)
    allocation = RankAllocation(ours, BUDGET, 0.1)
    config: Any = SimpleNamespace(
        beta1=0.85, beta2=0.85, target_r=2, tinit=2, tfinal=6, total_step=20, deltaT=3, init_r=4
    )
    allocator = RankAllocator(theirs, config, "default")
    pattern: dict[str, Any] = {}
    for number in range(1, 21):
        step(ours, number)
        allocation.after_step(number)
        step(theirs, number)
        if number < 14:
            allocator.update_and_allocate(theirs, number)
        elif number == 14:
            # PEFT takes the last choice from the importance of the step before; ours has that of the step itself.
            allocator.update_ipt(theirs)
            _, pattern = allocator.update_and_allocate(theirs, number, force_mask=True)
        else:
            allocator.mask_using_rank_pattern(theirs, pattern)
        for name, found in values(ours).items():
            torch.testing.assert_close(found, values(theirs)[name], msg=f"{name} after step {number}")
    ranks = allocation.ranks()
    assert sum(ranks.values()) == 2 * len(ranks)
    assert len(set(ranks.values())) > 1


def test_the_penalty_is_the_mean_distance_of_the_factors_from_orthogonality(folder: Path) -> None:
    trunk = adapted(folder)
    distances = []
    for name, p in trunk.named_parameters():
        if "lora_A" in name:
            distances.append(float(((p @ p.T - torch.eye(4)) ** 2).sum().sqrt()))
        elif "lora_B" in name:
            distances.append(float(((p.T @ p - torch.eye(4)) ** 2).sum().sqrt()))
    loss = RankAllocation(trunk, BUDGET, 0.3).loss()
    assert float(loss.detach()) == pytest.approx(0.3 * sum(distances) / len(distances))
    loss.backward()
    assert all(p.grad is not None for name, p in trunk.named_parameters() if "lora_A" in name)


def test_it_goes_on_from_its_state(folder: Path) -> None:
    whole, parts = adapted(folder), adapted(folder)
    first = RankAllocation(whole, BUDGET, 0.1)
    second = RankAllocation(parts, BUDGET, 0.1)
    for number in range(1, 21):
        if number == 8:
            state = {name: tensor.clone() for name, tensor in second.state().items()}
            second = RankAllocation(parts, BUDGET, 0.1)
            second.load_state(state)
        for trunk, allocation in ((whole, first), (parts, second)):
            step(trunk, number)
            allocation.after_step(number)
    assert all(torch.equal(values(whole)[name], value) for name, value in values(parts).items())
