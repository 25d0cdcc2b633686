"""Reading answers off states: pooling by position, label words, and nothing of the size of the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.engine.engine import Engine, States
from adjudge.models.engine.heads import LabelHead, Pooling, ScoreHead, pool
from adjudge.models.engine.network import Network
from adjudge.models.trunk.loading import load_pretrained
from adjudge.prompts.trie import build_trie
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES, tiny_model

POOLINGS: tuple[Pooling, ...] = ("mean", "first", "last")


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("architecture", ["bert", "modernbert", "llama", "gemma3"])
def test_score_head_on_packed_rows_is_the_head_on_single_rows(
    architecture: str, pooling: Pooling, tmp_path: Path
) -> None:
    folder, rows = ref.model_folder(architecture, tmp_path / architecture), ref.BATCHES["mixed lengths"]
    causal = FAMILIES[architecture].causal
    trunk, engine = ref.load_trunk(folder, torch.float64), ref.engine_of(folder, architecture)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = ScoreHead(32, 3, pooling=pooling).double()
    single = []
    for row in rows:
        _, _, own = ref.reference(trunk, [row], ref.PREFIX, (), causal=causal)
        single.append({"mean": own.mean(0), "first": own[0], "last": own[-1]}[pooling])
    expected = torch.stack(single) @ head.linear.weight.T + head.linear.bias
    found = Network(engine, head, ref.PREFIX).logits(rows)
    ref.assert_close(found, expected, 1e-9, pooling)
    wanted, got = ref.gradients(trunk, [expected]), ref.gradients(engine.trunk, [found])
    for name in wanted:
        ref.assert_close(got[name], wanted[name], 1e-9, name)


def test_label_head_gradients_are_those_of_single_rows(tmp_path: Path) -> None:
    folder, rows = ref.model_folder("llama", tmp_path / "llama"), ref.BATCHES["mixed lengths"]
    trunk, engine = ref.load_trunk(folder, torch.float64), ref.engine_of(folder, "llama")
    trie = build_trie([(70, 71), (70, 72), (80,)], 1)
    rows_of_head = torch.randn(len(trie.token_ids), 32, generator=torch.Generator().manual_seed(1))
    head = LabelHead(rows_of_head, trie, trainable=True).double()
    answers, nodes, _ = ref.reference(trunk, rows, ref.PREFIX, trie.nodes, causal=True)
    first = torch.log_softmax(answers @ head.rows[:2].T, -1)
    second = torch.log_softmax(nodes @ head.rows[2:].T, -1)
    expected = torch.stack([first[:, 0] + second[:, 0], first[:, 0] + second[:, 1], first[:, 1]], dim=1)
    found = Network(engine, head, ref.PREFIX).logits(rows)
    ref.assert_close(found, expected, 1e-9, "log-probabilities")
    ref.assert_close(found.exp().sum(1), torch.ones(len(rows), dtype=torch.float64), 1e-12, "sum")
    wanted = ref.gradients(trunk, [expected]) | {"rows": head.rows.grad.clone()}
    head.zero_grad(set_to_none=True)
    got = ref.gradients(engine.trunk, [found]) | {"rows": head.rows.grad.clone()}
    for name in wanted:
        ref.assert_close(got[name], wanted[name], 1e-9, name)


def test_pooling_goes_by_position_and_never_by_token_id(tmp_path: Path) -> None:
    """Ids that equal padding or end of sequence inside a row are tokens like any other."""
    folder = tiny_model("llama", tmp_path / "llama")
    pretrained = load_pretrained(str(folder))
    end = pretrained.tokenizer.end_id
    engine = Engine(pretrained.trunk, causal=True)
    row = Encoded((30, end, 0, 31, end), (40, end), 5)
    alone = pretrained.trunk  # runs packed now; the reference is a second, plain copy
    plain = ref.load_trunk(folder, torch.float32)
    assert plain is not alone
    whole = plain(input_ids=torch.tensor([[1, *row.text_ids, *row.suffix_ids]])).last_hidden_state[0]
    states = engine.states([row, ref.row(2, 1)], (1,))
    for pooling, expected in (("last", whole[-1]), ("first", whole[1]), ("mean", whole[1:].mean(0))):
        torch.testing.assert_close(pool(states, pooling)[0], expected, rtol=1e-4, atol=1e-5)


def test_pooling_by_hand() -> None:
    states = States(
        hidden=torch.tensor([[4.0], [8.0], [100.0], [1.0], [2.0]]),
        owner=torch.tensor([1, 1, 1, 0, 0]),
        own=torch.tensor([True, True, False, True, True]),
        answer=torch.tensor([4, 1]),
        nodes=torch.zeros(2, 0, dtype=torch.long),
    )
    assert pool(states, "last").tolist() == [[2.0], [8.0]]
    assert pool(states, "first").tolist() == [[1.0], [4.0]]
    assert pool(states, "mean").tolist() == [[1.5], [6.0]]


def test_heads_are_float32_whatever_the_states_are() -> None:
    states = States(
        hidden=torch.randn(3, 8).bfloat16(),
        owner=torch.arange(3),
        own=torch.ones(3, dtype=torch.bool),
        answer=torch.arange(3),
        nodes=torch.zeros(3, 0, dtype=torch.long),
    )
    head = LabelHead(torch.randn(2, 8).bfloat16(), build_trie([(1,), (2,)], 0))
    assert head.rows.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(states).dtype == torch.float32
        for pooling in POOLINGS:
            score = ScoreHead(8, 2, pooling=pooling)
            assert {p.dtype for p in score.parameters()} == {torch.float32}
            found = score(states)
            assert found.dtype == torch.float32
            with torch.autocast("cpu", enabled=False):
                expected = states.hidden.float() @ score.linear.weight.T + score.linear.bias
            torch.testing.assert_close(found, expected)


class Sizes(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return out


def test_nothing_of_tokens_times_vocabulary_is_made(tmp_path: Path) -> None:
    vocabulary = 50_000
    pretrained = load_pretrained(str(tiny_model("llama", tmp_path / "llama", hidden=16, layers=1, vocab=vocabulary)))
    assert pretrained.output_rows is not None
    trie = build_trie([(40_000, 41_000), (40_000, 42_000), (30,)], 2)
    head = LabelHead(pretrained.output_rows[list(trie.token_ids)], trie, trainable=True)
    add_lora(pretrained.trunk, rank=2, alpha=4, dropout=0.0, targets=linear_layers(pretrained.trunk, "all"))
    network = Network(Engine(pretrained.trunk, causal=True), head, ref.PREFIX)
    rows = ref.BATCHES["mixed lengths"]
    with Sizes() as seen:
        network.logits(rows).sum().backward()
    tokens = network.engine.n_tokens(rows, ref.PREFIX) + len(rows) * len(trie.nodes)
    assert 0 < seen.largest <= vocabulary * 16  # views of the embedding's own table, at most
    assert seen.largest < tokens * vocabulary / 50

    with Sizes() as seen:  # the probe does see what a plain causal model makes
        head_of_all = pretrained.output_rows
        states = network.engine.states(rows, ref.PREFIX)
        (states.hidden.detach() @ head_of_all.T).sum()
    assert seen.largest >= len(states.hidden) * vocabulary
