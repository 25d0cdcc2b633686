"""The token table that keeps its gradient, against PyTorch's embedding."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from adjudge.models.trunk.lookup import TokenTable, clear_gradients, keep_gradients
from tests.models.engine import one_by_one as ref


def trained(table: nn.Module, start: nn.Embedding, steps: int = 4) -> torch.Tensor:
    """The weight after some steps of AdamW on a loss over a few ids, the padding id among them."""
    optimizer = torch.optim.AdamW([start.weight], lr=0.1, weight_decay=0.1)
    for step in range(steps):
        clear_gradients((table,))
        ids = torch.tensor([[1, 2, 2], [0, 5 + step % 3, 1]])
        for _ in range(2):  # two backward passes add up
            (table(ids) * torch.arange(4.0)).sin().sum().backward()
        nn.utils.clip_grad_norm_([start.weight], 0.5)
        optimizer.step()
    return start.weight.detach().clone()


def embedding() -> nn.Embedding:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Embedding(12, 4, padding_idx=0)


def test_a_training_ends_with_the_same_table() -> None:
    plain, other = embedding(), embedding()
    expected = trained(plain, plain)
    table = TokenTable(other)
    assert torch.equal(trained(table, other), expected)


def test_the_gradient_keeps_its_memory_and_is_zero_where_nothing_was_touched() -> None:
    start = embedding()
    table = TokenTable(start)
    table(torch.tensor([3, 4])).sum().backward()
    gradient = start.weight.grad
    assert gradient is not None
    clear_gradients((table,))
    assert not gradient.any()
    table(torch.tensor([7])).sum().backward()
    assert start.weight.grad is gradient
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [7]


def test_gradients_of_everything_else_are_dropped() -> None:
    model = nn.Sequential(TokenTable(embedding()), nn.Linear(4, 2))
    model(torch.tensor([1])).sum().backward()
    clear_gradients((model,))
    assert model[1].weight.grad is None
    assert model[0].weight.grad is not None


def test_rows_may_be_changed_in_place() -> None:
    """As CTRL scales its embeddings."""
    start = embedding()
    rows = TokenTable(start)(torch.tensor([[3, 4]]))
    rows *= 2.0
    rows.sum().backward()
    assert start.weight.grad is not None
    assert start.weight.grad[[3, 4]].eq(2.0).all()


def test_it_stands_in_a_trunk_under_the_same_names(tmp_path: Path) -> None:
    trunk = ref.load_trunk(ref.model_folder("bert", tmp_path / "bert"), torch.float32)
    names = list(trunk.state_dict())
    ids = torch.tensor([[5, 6, 7]])
    expected = trunk(input_ids=ids).last_hidden_state
    keep_gradients(trunk)
    assert isinstance(trunk.get_input_embeddings(), TokenTable)
    assert list(trunk.state_dict()) == names
    assert torch.equal(trunk(input_ids=ids).last_hidden_state, expected)


def test_a_frozen_table_stays_as_it_is(tmp_path: Path) -> None:
    trunk = ref.load_trunk(ref.model_folder("bert", tmp_path / "bert"), torch.float32).requires_grad_(False)
    keep_gradients(trunk)
    assert type(trunk.get_input_embeddings()) is nn.Embedding
