"""How an answer is read off hidden states: a score layer, or the language-model head's rows of the label words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import linear, log_softmax

from adjudge.models.engine import States
from adjudge.models.readout import Readout, Scaling
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
        bias: whether a constant is added to each label's score.
    """

    paths: tuple[tuple[int, ...], ...] = ()

    def __init__(
        self, hidden_size: int, n_labels: int, *, pooling: Pooling, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, n_labels, bias=bias)
        nn.init.normal_(self.linear.weight, std=0.02)
        if bias:
            nn.init.zeros_(self.linear.bias)

    def forward(self, states: States) -> torch.Tensor:
        """Logits ``[B, C]``, float32."""
        pooled = self.dropout(pool(states, self.pooling))
        with torch.autocast(pooled.device.type, enabled=False):
            return self.linear(pooled)  # type: ignore[no-any-return]


class LabelHead(nn.Module):
    """Scores of label words: the language-model head's rows of the words' tokens, at the places where they are read.

    Without ``vocabulary``, logits are log-probabilities of the labels within the closed set (see `LabelTrie`). With
    it they are log-likelihoods of the labels' words under the whole vocabulary, as lm-evaluation-harness scores
    choices, each divided by its length where `lengths` are given.

    Args:
        rows: the language-model head's rows of ``trie.token_ids``, in that order, ``[R, H]``; copied.
        trie: of the labels' answer ids; for ``vocabulary`` every token's place (`build_full_trie`).
        bias: the head's bias of the same tokens ``[R]``, or None; copied.
        scaling: what the architecture does to the head's products.
        trainable: whether the copied rows and bias learn.
        vocabulary: the whole head, or None.
        lengths: what each label's log-likelihood is divided by, ``C`` numbers, or None.
    """

    def __init__(
        self,
        rows: torch.Tensor,
        trie: LabelTrie,
        *,
        bias: torch.Tensor | None = None,
        scaling: Scaling | None = None,
        trainable: bool = False,
        vocabulary: Readout | None = None,
        lengths: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.trie = trie
        self.paths = trie.nodes
        self.rows = nn.Parameter(rows.float().clone(), requires_grad=trainable)
        self.bias = None if bias is None else nn.Parameter(bias.float().clone(), requires_grad=trainable)
        self.scaling = scaling or Scaling()
        self.vocabulary = vocabulary
        self.lengths = None if lengths is None else tuple(lengths)

    def forward(self, states: States) -> torch.Tensor:
        """Log-probabilities ``[B, C]``, float32."""
        places = torch.cat([states.answer[:, None], states.nodes], dim=1)
        column = {(): 0, **{path: i for i, path in enumerate(self.paths, start=1)}}
        with torch.autocast(places.device.type, enabled=False):
            hidden = full_precision(states.hidden[places])
            totals = None
            if self.vocabulary is not None:
                totals = self.vocabulary.log_total(hidden.flatten(0, 1)).view(places.shape)
            total = hidden.new_zeros(len(places), self.trie.n_labels, dtype=self.rows.dtype)
            first = 0
            for branch in self.trie.branches:
                at, part = column[branch.path], slice(first, first + len(branch.tokens))
                bias = None if self.bias is None else self.bias[part]
                scores = self.scaling(linear(hidden[:, at], self.rows[part], bias))
                turns = log_softmax(scores, dim=-1) if totals is None else scores - totals[:, at, None]
                total = total + turns @ self._membership(branch.groups).to(turns)
                first = part.stop
            return total if self.lengths is None else total / total.new_tensor(self.lengths)

    def _membership(self, groups: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """``[turns, C]``: 1 where a label goes on with a turn."""
        table = torch.zeros(len(groups), self.trie.n_labels)
        for turn, group in enumerate(groups):
            table[turn, list(group)] = 1.0
        return table


Head = ScoreHead | LabelHead
