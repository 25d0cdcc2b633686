"""Predicting any number of rows in batches of tokens, in order, in the precision asked for."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from adjudge.core.errors import WorkError
from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.adapters.lowrank import fuse_lora
from adjudge.models.engine.engine import Engine, States
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.steadiness import make_steady
from adjudge.models.trunk.loading import load_pretrained
from adjudge.models.trunk.precision import BATCH_TOLERANCES, Resolved
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES, tiny_model


def network_of(architecture: str, folder: Path, *, dropout: float = 0.0) -> Network:
    pretrained = load_pretrained(str(tiny_model(architecture, folder)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = ScoreHead(32, 4, pooling="last", dropout=dropout)
    return Network(Engine(pretrained.trunk, causal=FAMILIES[architecture].causal), head, ref.PREFIX)


def test_batches_hold_every_row_once_longest_first_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ref.row(n, n) for n in (5, 90, 0, 33, 7, 7)]
    network, batches = network_of("llama", tmp_path / "model"), []
    monkeypatch.setattr("adjudge.models.engine.network.token_budget", lambda *_: 40)
    lengths = [len(row.text_ids) + len(row.suffix_ids) for row in rows]

    def note(states: States) -> torch.Tensor:
        batches.append(torch.bincount(states.owner).tolist())
        return torch.bincount(states.owner)[:, None]

    found = network.read(rows, note, 1)
    assert found[:, 0].tolist() == lengths  # every row once, in the caller's order
    assert [length for batch in batches for length in batch] == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or sum(batch) <= 40 for batch in batches)
    assert batches[0] == [92]  # longer than the budget, so alone
    assert network.read([], note, 1).shape == (0, 1)


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


STEEP = 30.0  # a tiny model's head is flat; one that was trained is not


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["llama", "bert", "gemma3", "mixtral", "modernbert"])
def test_probabilities_alone_and_among_others_differ_by_no_more_than_the_network_states(
    architecture: str, precision: Resolved, tmp_path: Path
) -> None:
    network = network_of(architecture, tmp_path / "model")
    network.precision = precision
    network.head.linear.weight.data *= STEEP
    network.steady = make_steady(network.engine, precision)
    rows = [ref.row(n % 50, n) for n in range(60)]
    together = network.predict_logits(rows, 4)
    alone = np.concatenate([network.predict_logits([row], 4) for row in rows])
    worst = np.abs(softmax(together, axis=1) - softmax(alone, axis=1)).max()
    assert worst <= network.batch_tolerance.stated
    assert network.batch_tolerance.stated in (BATCH_TOLERANCES[precision].stated, BATCH_TOLERANCES[precision].most)


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


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


def run_out_above(network: Network, rows: int, error: Exception) -> list[int]:
    """Let batches of more than so many rows run out of memory; returns the sizes that were tried."""
    states, tried = network.engine.states, []

    def limited(encoded: Sequence[Encoded], *args: Any, **options: Any) -> States:
        tried.append(len(encoded))
        if len(encoded) > rows:
            raise error
        return states(encoded, *args, **options)

    network.engine.states = limited  # type: ignore[method-assign]
    return tried


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_that_memory_does_not_hold_is_halved_and_so_are_those_after_it(
    error: Exception, tmp_path: Path
) -> None:
    network = network_of("llama", tmp_path / "model")
    rows = [ref.row(6, n) for n in range(16)]
    expected = network.predict_logits(rows, 4)
    tried = run_out_above(network, 5, error)
    found = network.predict_logits(rows, 4)
    assert tried == [16, 8, 4, 4, 4, 4]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_a_batch_computed_before_it_failed_is_let_go(
    tmp_path: Path,
) -> None:
    """Memory runs out between two layers of a family: nothing of it waits when the halved batch is run."""
    network = network_of("llama", tmp_path / "model")
    trunk = network.engine.trunk
    add_lora(trunk, rank=2, alpha=4.0, dropout=0.0, targets=linear_layers(trunk, "all"))
    fuse_lora(trunk)
    rows = [ref.row(6, n) for n in range(4)]
    expected = network.predict_logits(rows, 4)
    gate, up = (trunk.get_submodule(f"layers.0.mlp.{name}_proj") for name in ("gate", "up"))
    failures = iter([MemoryError()])

    def fail_once(*_: Any) -> None:
        if error := next(failures, None):
            raise error

    gate.register_forward_hook(fail_once)
    np.testing.assert_allclose(network.predict_logits(rows, 4), expected, atol=1e-5)
    assert next(failures, None) is None
    assert gate.family is up.family is not None


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_single_row_that_memory_does_not_hold_is_named_with_its_length(error: Exception, tmp_path: Path) -> None:
    network = network_of("llama", tmp_path / "model")
    run_out_above(network, 0, error)
    length = len(ref.PREFIX) + 90 + 2
    with pytest.raises(
        WorkError, match=rf"number 3 of those given, {length} tokens with its prompt; lower max_tokens"
    ):
        network.predict_logits([ref.row(3, 1), ref.row(4, 2), ref.row(90, 3)], 4)


def test_any_other_failure_is_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    network = network_of("llama", tmp_path / "model")
    tried = run_out_above(network, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        network.predict_logits([ref.row(3, 1)] * 4, 4)
    assert tried == [4]


def test_prediction_keeps_nothing_but_the_rows_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("llama", tmp_path / "model")
    monkeypatch.setattr("adjudge.models.engine.network.token_budget", lambda *_: 100)
    seen: list[weakref.ref[torch.Tensor]] = []

    def reader(states: States) -> torch.Tensor:
        assert all(state() is None for state in seen)  # those of earlier batches are gone
        seen.append(weakref.ref(states.hidden))
        return network.head(states)  # type: ignore[no-any-return]

    found = network.read([ref.row(40, n) for n in range(10)], reader, 4)
    assert len(seen) == 5
    assert (found.shape, found.dtype, found.base) == ((10, 4), np.float32, None)
