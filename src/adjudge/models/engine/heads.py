"""How an answer is read off hidden states: a score layer, or the language-model head's rows of the label words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, log_softmax

from adjudge.core.types import Encoded
from adjudge.models.engine.engine import States
from adjudge.models.trunk.readout import Readout, Scaling
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
        total = _scores(states, self.trie, self.rows, self.bias, self.scaling, self.vocabulary)
        return total if self.lengths is None else total / total.new_tensor(self.lengths)


class WritingHead(nn.Module):
    """A language-model head while a trunk learns to write the label words.

    What is learnt from is the likelihood of the right label's words, and of the token that ends the answer, under the
    whole vocabulary, at the places of the answer alone (`losses`). What is predicted are the scores of the closed set,
    by the same weights (`forward`); `closed` gives them as a head of their own once the weights stay as they are.

    Args:
        readout: the language-model head.
        trie: of the labels' answer ids.
        answers: the tokens to learn of each label, its end among them: C tuples, none empty.
        learns: what learns in the place of the readout's weight ``[V, H]``, or None where that is frozen.
        shared: whether `learns` is a weight of the trunk, which then owns it.
    """

    def __init__(
        self,
        readout: Readout,
        trie: LabelTrie,
        answers: Sequence[tuple[int, ...]],
        *,
        learns: nn.Parameter | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.readout = readout
        self.trie = trie
        self.paths = trie.nodes
        self.answers = tuple(answers)
        self.output = None if shared else learns
        self.shares_table = shared
        self._learns = (learns,)  # in a tuple, so that a weight of the trunk is none of this module's

    @property
    def weight(self) -> torch.Tensor:
        """``[V, H]`` as it is now."""
        learnt = self._learns[0] if self.shares_table else self.output
        return self.readout.weight if learnt is None else learnt

    def forward(self, states: States) -> torch.Tensor:
        """Log-probabilities ``[B, C]`` within the closed set, float32."""
        tokens = list(self.trie.token_ids)
        bias = None if self.readout.bias is None else self.readout.bias[tokens]
        return _scores(states, self.trie, self.weight[tokens], bias, self.readout.scaling)

    def prompted(self, encoded: Sequence[Encoded], targets: torch.Tensor) -> list[Encoded]:
        """The rows with their labels' words behind them, all but the last token, which is only to be guessed."""
        return [
            replace(row, suffix_ids=(*row.suffix_ids, *self.answers[label][:-1]))
            for row, label in zip(encoded, targets.tolist(), strict=True)
        ]

    def losses(self, states: States, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        """Negative log-likelihoods ``[B]`` of the right labels' words, in nats, summed over their tokens.

        Args:
            states: of the rows that `prompted` gives.
            targets: ``[B]`` label positions.
            label_smoothing: share of each token's probability that is spread over the vocabulary.
        """
        answers = [self.answers[label] for label in targets.tolist()]
        lengths = torch.tensor([len(ids) for ids in answers], device=targets.device)
        owner = torch.arange(len(answers), device=targets.device).repeat_interleave(lengths)
        # A row's tokens lie one behind the other, and its answer slot is the last of them.
        back = torch.cat([torch.arange(len(ids) - 1, -1, -1) for ids in answers]).to(targets.device)
        hidden = full_precision(states.hidden[states.answer[owner] - back])
        tokens = torch.tensor([token for ids in answers for token in ids], device=targets.device)
        with torch.autocast(hidden.device.type, enabled=False):
            scores = self.readout.scaling(linear(hidden, self.weight, self.readout.bias))
            token_losses = cross_entropy(scores, tokens, label_smoothing=label_smoothing, reduction="none")
            return token_losses.new_zeros(len(answers)).index_add_(0, owner, token_losses)

    def closed(self) -> LabelHead:
        """The head of the closed set with the weights as they are now."""
        tokens = list(self.trie.token_ids)
        bias = None if self.readout.bias is None else self.readout.bias[tokens]
        head = LabelHead(self.weight.detach()[tokens], self.trie, bias=bias, scaling=self.readout.scaling)
        return head.requires_grad_(False)

    def written(self) -> Readout:
        """The language-model head with the weights as they are now."""
        return Readout(self.weight, self.readout.bias, self.readout.scaling)


class JointHead(nn.Module):
    """The heads of several tasks on one trunk, so that they learn and are kept together; each is read by itself.

    Args:
        heads: one of each task.
    """

    paths: tuple[tuple[int, ...], ...] = ()

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)


def _scores(
    states: States,
    trie: LabelTrie,
    rows: torch.Tensor,
    bias: torch.Tensor | None,
    scaling: Scaling,
    vocabulary: Readout | None = None,
) -> torch.Tensor:
    """The labels' scores ``[B, C]``; see `LabelHead`, whose arguments these are."""
    places = torch.cat([states.answer[:, None], states.nodes], dim=1)
    column = {(): 0, **{path: i for i, path in enumerate(trie.nodes, start=1)}}
    with torch.autocast(places.device.type, enabled=False):
        hidden = full_precision(states.hidden[places])
        totals = None
        if vocabulary is not None:
            totals = vocabulary.log_total(hidden.flatten(0, 1)).view(places.shape)
        total = hidden.new_zeros(len(places), trie.n_labels, dtype=rows.dtype)
        first = 0
        for branch in trie.branches:
            at, part = column[branch.path], slice(first, first + len(branch.tokens))
            scores = scaling(linear(hidden[:, at], rows[part], None if bias is None else bias[part]))
            turns = log_softmax(scores, dim=-1) if totals is None else scores - totals[:, at, None]
            total = total + turns @ _membership(branch.groups, trie.n_labels).to(turns)
            first = part.stop
        return total


def _membership(groups: Sequence[tuple[int, ...]], n_labels: int) -> torch.Tensor:
    """``[turns, C]``: 1 where a label goes on with a turn."""
    table = torch.zeros(len(groups), n_labels)
    for turn, group in enumerate(groups):
        table[turn, list(group)] = 1.0
    return table


Head = ScoreHead | LabelHead | WritingHead | JointHead
