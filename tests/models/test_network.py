"""Predicting any number of rows in batches of tokens, in order, in the precision asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adjudge.core.types import Encoded
from adjudge.models.engine import Engine
from adjudge.models.heads import ScoreHead
from adjudge.models.loading import load_pretrained
from adjudge.models.network import Network, budget_batches
from tests.models import one_by_one as ref
from tests.tiny_models import FAMILIES, tiny_model


def network_of(architecture: str, folder: Path, *, dropout: float = 0.0) -> Network:
    pretrained = load_pretrained(str(tiny_model(architecture, folder)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = ScoreHead(32, 4, pooling="last", dropout=dropout)
    return Network(Engine(pretrained.trunk, causal=FAMILIES[architecture].causal), head, ref.PREFIX)


def test_batches_hold_every_row_once_longest_first_within_the_budget() -> None:
    rows = [ref.row(n, n) for n in (5, 90, 0, 33, 7, 7)]
    batches = list(budget_batches(rows, 40))
    lengths = [len(row.text_ids) + len(row.suffix_ids) for row in rows]
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert [lengths[i] for batch in batches for i in batch] == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or sum(lengths[i] for i in batch) <= 40 for batch in batches)
    assert batches[0] == [1]  # longer than the budget, so alone
    assert list(budget_batches([], 40)) == []


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_logits_do_not_depend_on_the_batch_and_come_in_order(architecture: str, tmp_path: Path) -> None:
    network = network_of(architecture, tmp_path / "model", dropout=0.5)
    rows = [ref.row(n % 50, n) for n in range(60)]
    together = network.predict_logits(rows, 4)
    alone = np.concatenate([network.predict_logits([row], 4) for row in rows])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_prediction_is_without_dropout_and_leaves_no_graph(tmp_path: Path) -> None:
    network = network_of("llama", tmp_path / "model", dropout=0.9)
    network.train(True)
    rows = [ref.row(3, 1)]
    first, second = network.predict_logits(rows, 4), network.predict_logits(rows, 4)
    np.testing.assert_array_equal(first, second)
    assert not network.head.training
    assert network.logits(rows).requires_grad  # and training can go on


# A tiny random model is harder on rounding than a real one: its states have no large common part.
BFLOAT16_TOLERANCE = 0.05


@pytest.mark.parametrize("architecture", ["llama", "bert", "gemma3", "modernbert"])
def test_bfloat16_computes_close_to_float32_and_keeps_head_loss_and_weights_in_float32(
    architecture: str, tmp_path: Path
) -> None:
    network = network_of(architecture, tmp_path / "model")
    rows = ref.BATCHES["mixed lengths"]
    exact = network.states(rows)
    network.precision = "bfloat16"
    rounded = network.states(rows)
    scale = exact.hidden.abs().max()
    worst = float((rounded.hidden.float() - exact.hidden).abs().max() / scale)
    assert 0 < worst <= BFLOAT16_TOLERANCE
    logits = network.logits(rows)
    assert logits.dtype == torch.float32
    loss = logits.logsumexp(dim=1).sum()
    assert loss.dtype == torch.float32
    loss.backward()
    for parameter in network.trainable().values():
        assert parameter.dtype == torch.float32
        assert parameter.grad is None or parameter.grad.dtype == torch.float32


def test_parameters_are_named_and_counted_by_owner(tmp_path: Path) -> None:
    network = network_of("llama", tmp_path / "model")
    network.engine.trunk.requires_grad_(False)
    assert set(network.trainable()) == {"head.linear.weight", "head.linear.bias"}
    trainable, total = network.n_parameters()
    assert trainable == 4 * 32 + 4
    assert total == trainable + sum(p.numel() for p in network.engine.trunk.parameters())


def test_one_row_of_one_token(tmp_path: Path) -> None:
    network = network_of("llama", tmp_path / "model")
    assert network.predict_logits([Encoded((), (7,), 0)], 4).shape == (1, 4)
