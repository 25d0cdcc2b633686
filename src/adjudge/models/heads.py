"""How an answer is read off hidden states: a score layer, or the language-model head's rows of the label words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import linear, log_softmax

from adjudge.models.engine import States
from adjudge.prompts.trie import LabelTrie

Pooling = Literal["mean", "first", "last"]


def full_precision(state: torch.Tensor) -> torch.Tensor:
    """A half-precision state as float32; float32 and float64 stay as they are."""
    return state.float() if state.dtype in (torch.bfloat16, torch.float16) else state


def pool(states: States, pooling: Pooling) -> torch.Tensor:
    """One state per row ``[B, H]``, in float32 or better: by the row's own tokens, never by token id.

    Args:
        states: of a batch.
        pooling: ``mean`` over the row's tokens, its ``first`` or its ``last`` one (the answer slot).
    """
    if pooling == "last":
        return full_precision(states.hidden[states.answer])
    rows = len(states.answer)
    hidden = full_precision(states.hidden[states.own])
    owner = states.owner[states.own]
    if pooling == "first":
        at = torch.full((rows,), len(owner), device=owner.device)
        at = at.scatter_reduce(0, owner, torch.arange(len(owner), device=owner.device), "amin")
        return hidden[at]
    sums = hidden.new_zeros(rows, hidden.shape[1]).index_add_(0, owner, hidden)
    return sums / torch.bincount(owner, minlength=rows)[:, None]


class ScoreHead(nn.Module):
    """A linear layer on the pooled state, in float32 whatever the trunk computes in.

    Args:
        hidden_size: H.
        n_labels: C.
        pooling: see `pool`.
        dropout: share of the pooled state dropped in training.
    """

    paths: tuple[tuple[int, ...], ...] = ()

    def __init__(self, hidden_size: int, n_labels: int, *, pooling: Pooling, dropout: float = 0.0) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, n_labels)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: States) -> torch.Tensor:
        """Logits ``[B, C]``, float32."""
        pooled = self.dropout(pool(states, self.pooling))
        with torch.autocast(pooled.device.type, enabled=False):
            return self.linear(pooled)  # type: ignore[no-any-return]


class LabelHead(nn.Module):
    """Closed-set scoring of label words: the head's rows of the words' tokens, at the places where labels part.

    Logits are log-probabilities of the labels within the closed set (see `LabelTrie`).

    Args:
        rows: the language-model head's rows of ``trie.token_ids``, in that order, ``[R, H]``; copied.
        trie: of the labels' answer ids.
        trainable: whether the copied rows learn.
    """

    def __init__(self, rows: torch.Tensor, trie: LabelTrie, *, trainable: bool = False) -> None:
        super().__init__()
        self.trie = trie
        self.paths = trie.nodes
        self.rows = nn.Parameter(rows.float().clone(), requires_grad=trainable)

    def forward(self, states: States) -> torch.Tensor:
        """Log-probabilities ``[B, C]``, float32."""
        node_at = {path: i for i, path in enumerate(self.paths)}
        total = states.hidden.new_zeros(len(states.answer), self.trie.n_labels, dtype=self.rows.dtype)
        first = 0
        for branch in self.trie.branches:
            at = states.answer if not branch.path else states.nodes[:, node_at[branch.path]]
            rows = self.rows[first : first + len(branch.tokens)]
            with torch.autocast(rows.device.type, enabled=False):
                turns = log_softmax(linear(full_precision(states.hidden[at]), rows), dim=-1)
            total = total + turns @ self._membership(branch.groups).to(turns)
            first += len(branch.tokens)
        return total

    def _membership(self, groups: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """``[turns, C]``: 1 where a label goes on with a turn."""
        table = torch.zeros(len(groups), self.trie.n_labels)
        for turn, group in enumerate(groups):
            table[turn, list(group)] = 1.0
        return table


Head = ScoreHead | LabelHead
