"""The router's loss against Transformers', and that a training step counts each token once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from adjudge.models.adapters.mixture import RouterBalance, balance_loss, routers
from tests.tiny_models import tiny_model

IDS = torch.tensor([[30, 41, 52, 63, 74], [31, 42, 53, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("mixtral", tmp_path_factory.mktemp("mixture") / "mixtral")


@pytest.mark.parametrize("padded", [False, True])
def test_the_loss_is_that_of_transformers(padded: bool) -> None:
    logits = torch.sin(torch.arange(2 * 10 * 4) * 0.7).reshape(2, 10, 4)
    mask = MASK if padded else None
    expected = load_balancing_loss_func(tuple(logits), 4, 2, mask)
    found = balance_loss(logits, 2, None if mask is None else mask.reshape(-1))
    torch.testing.assert_close(found, expected)


def test_even_choices_give_the_least_loss() -> None:
    """f = k/E each and P = 1/E each: E · E · (k/E · 1/E) = k."""
    even = torch.eye(4).repeat_interleave(3, dim=0)[None] * 1e-3
    assert float(balance_loss(even, 1)) == pytest.approx(1.0, abs=1e-3)
    assert float(balance_loss(torch.tensor([[[9.0, 0, 0, 0]] * 6]), 1)) == pytest.approx(4.0, abs=1e-2)


def test_a_run_of_the_trunk_gives_the_loss_of_the_whole_model(folder: Path) -> None:
    whole = AutoModelForCausalLM.from_pretrained(folder).train()
    trunk: Any = AutoModel.from_pretrained(folder).train()
    balance = RouterBalance(trunk)
    trunk(input_ids=IDS, attention_mask=MASK)
    expected = whole(input_ids=IDS, attention_mask=MASK, output_router_logits=True).aux_loss
    found = balance.loss()
    assert found is not None
    torch.testing.assert_close(found, trunk.config.router_aux_loss_coef * expected)
    found.backward()
    assert trunk.layers[0].mlp.gate.weight.grad is not None
    assert balance.loss() is None  # taken once


def test_layers_that_are_run_again_are_not_counted_twice(folder: Path) -> None:
    trunk: Any = AutoModel.from_pretrained(folder).train()
    balance = RouterBalance(trunk)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            trunk.gradient_checkpointing_enable()
        for _ in range(2):
            states = trunk(input_ids=IDS[:1], use_cache=False).last_hidden_state
            loss = balance.loss()
            assert loss is not None
            (states.sum() + loss).backward()
            found.append(float(loss.detach()))
    assert found == [found[0]] * 4


def test_prediction_gives_no_loss_and_dense_models_have_no_routers(folder: Path, tmp_path: Path) -> None:
    trunk: Any = AutoModel.from_pretrained(folder).eval()
    balance = RouterBalance(trunk)
    trunk(input_ids=IDS)
    assert balance.loss() is None
    assert len(routers(trunk)) == 2
    assert routers(AutoModel.from_pretrained(tiny_model("llama", tmp_path / "llama"))) == []
