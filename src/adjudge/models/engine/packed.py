"""The packed layout: a batch as one sequence, the shared prefix once, then every row's own tokens.

Linear layers see real tokens only. Attention runs per row, with the prefix's keys and values in front of the row's
own, so a row never sees its neighbours; positions restart behind the prefix. Rows are ordered by length and attended
in groups of similar length, so padding exists inside attention alone and is small there.

A sum over more slots may round otherwise, even if they add nothing. In prediction a row's group is therefore as wide
as the row's own length asks for, whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

import torch

from adjudge.core.types import Encoded
from adjudge.models.adapters.soft import LearnedStates
from adjudge.models.engine.flash import FlashKernel
from adjudge.models.engine.prefix_cache import PrefixStates

# A row joins a group of longer rows where that wastes at most this share of its slots, or this many slots.
_GROUP_SHARE = 0.6
_GROUP_SLOTS = 8
# Fixed widths are multiples of so many slots, and from 128 slots on at most an eighth apart.
_WIDTH_STEP = 8


@dataclass
class Group:
    """Rows of similar length that are attended together.

    Attributes:
        start: where the group's tokens begin behind the prefix.
        size: number of the group's tokens.
        rows: number of rows, B'.
        width: slots of each row, L: at least the length of the longest.
        gather: slot -> token within the group, ``[B' * L]``; None where all rows have length L.
        scatter: token within the group -> slot, ``[size]``; None likewise.
        lengths: ``[B']``.
        positions: position of each slot in its own prompt, ``[B', L]``.
        blocked: slots that a slot must not see beyond causality, ``[B', L, L]`` (label trie), or None.
    """

    start: int
    size: int
    rows: int
    width: int
    gather: torch.Tensor | None
    scatter: torch.Tensor | None
    lengths: torch.Tensor
    positions: torch.Tensor
    blocked: torch.Tensor | None


@dataclass
class SharedSegment:
    """Rows behind a node of a prefix tree: its children, attended as rows are, with the path to them as their prefix.

    Attributes:
        start: where their tokens begin behind the batch's prefix.
        path: ``[P']`` index of every token before them, root first. The prefix's tokens are 0 to P - 1, whether they
            are run or were kept; those behind it follow.
        rows: their layout, of which the groups and P' are used; their tokens are among the batch's own.
    """

    start: int
    path: torch.Tensor
    rows: PackedBatch


@dataclass
class PackedBatch:
    """A batch in the packed layout. T tokens in all: P of the prefix, then the rows', longest row first.

    In a prefix tree the rows are the nodes directly behind the prefix, and those behind other nodes follow, parent by
    parent, in `branches`.

    Attributes:
        ids: ``[T]`` token ids.
        positions: ``[T]`` positions, restarting behind the prefix for every row.
        prefix: P.
        causal: whether tokens see only what stands before them.
        groups: the rows, see `Group`.
        owner: ``[T - P]`` the caller's row of every token behind the prefix.
        answer: ``[B]`` index behind the prefix of each of the caller's rows' answer slot.
        nodes: ``[B, K]`` likewise of each label-trie node.
        own: ``[T - P]`` whether a token is the prompt's own, not a trie node.
        record: takes the prefix's keys and values, where they are to be kept.
        replay: holds them, where they were kept: then the sequence is without the prefix's P tokens, and what is
            said above of T holds with those P added.
        replayed: how many layers have read them.
        branches: rows behind rows, parents first (`adjudge.models.engine.prefix_tree`).
        keep: takes every layer's keys and values ``[kv_heads, T - P, D]`` of the tokens behind the prefix, where
            tokens written later are to see them.
        learned: keys and values of virtual tokens (prefix tuning), or None.
        both_ways: whether a causal architecture looks both ways; its windows then count one token more to a side.
        flash: the kernel that attends, where one was asked for.
        masks: what attention layers of one kind share, made by the first of them.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    prefix: int
    causal: bool
    groups: list[Group]
    owner: torch.Tensor
    answer: torch.Tensor
    nodes: torch.Tensor
    own: torch.Tensor
    record: PrefixStates | None = None
    replay: PrefixStates | None = None
    replayed: int = 0
    branches: list[SharedSegment] = field(default_factory=list)
    keep: list[tuple[torch.Tensor, torch.Tensor]] | None = None
    learned: LearnedStates | None = None
    both_ways: bool = False
    flash: FlashKernel | None = None
    masks: dict[Any, Any] = field(default_factory=dict)

    @property
    def leading(self) -> int:
        """How many tokens of the sequence stand before the rows."""
        return 0 if self.replay is not None else self.prefix


def pack_prefix(prefix_ids: Sequence[int]) -> PackedBatch:
    """A causal model's prefix alone, its keys and values to be kept in `PackedBatch.record`."""
    none = torch.empty(0, dtype=torch.long)
    return PackedBatch(
        ids=torch.tensor(prefix_ids, dtype=torch.long),
        positions=torch.arange(len(prefix_ids)),
        prefix=len(prefix_ids),
        causal=True,
        groups=[],
        owner=none,
        answer=none,
        nodes=none[:, None],
        own=none.bool(),
        record=PrefixStates(len(prefix_ids)),
    )


def pack(
    encoded: Sequence[Encoded],
    prefix_ids: Sequence[int],
    *,
    causal: bool,
    paths: Sequence[tuple[int, ...]] = (),
    replay: PrefixStates | None = None,
    fixed_widths: bool = False,
) -> PackedBatch:
    """Lay out a batch.

    Args:
        encoded: the rows, B >= 1 of them, each with at least one token.
        prefix_ids: the shared prefix; an encoder's rows each get a copy, since they look both ways.
        causal: whether the model is causal.
        paths: label-trie nodes to run behind every row, parents first (`LabelTrie.nodes`).
        replay: the prefix's keys and values, where they were kept; then its tokens are not run again.
        fixed_widths: whether a group's width follows from the length of its rows alone, not from the longest of them.
    """
    shared = list(prefix_ids) if causal else []
    leading = [] if causal else list(prefix_ids)
    tails = [path[-1] for path in paths]
    rows = [[*leading, *row.text_ids, *row.suffix_ids, *tails] for row in encoded]
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    lengths = [len(rows[i]) for i in order]
    starts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
    by_caller = torch.empty(len(rows), dtype=torch.long)
    by_caller[torch.tensor(order)] = torch.arange(len(rows))
    own_lengths = torch.tensor(lengths) - len(paths)
    node_offsets = torch.arange(len(paths))
    depths = torch.tensor([len(path) for path in paths], dtype=torch.long)
    row_positions = [
        torch.cat([torch.arange(n - len(paths)), n - len(paths) + depths - 1]) + len(shared) for n in lengths
    ]
    run = shared if replay is None else []
    flat_ids = run + [token for i in order for token in rows[i]]
    return PackedBatch(
        ids=torch.tensor(flat_ids, dtype=torch.long),
        positions=torch.cat([torch.arange(len(run)), *row_positions]),
        prefix=len(shared),
        causal=causal,
        groups=_groups(lengths, row_positions, paths, fixed_widths),
        owner=torch.tensor(order).repeat_interleave(torch.tensor(lengths)),
        answer=(starts + own_lengths - 1)[by_caller],
        nodes=((starts + own_lengths)[:, None] + node_offsets)[by_caller],
        own=torch.cat([torch.arange(n) < n - len(paths) for n in lengths]),
        replay=replay,
    )


def _groups(
    lengths: Sequence[int],
    positions: Sequence[torch.Tensor],
    paths: Sequence[tuple[int, ...]],
    fixed_widths: bool,
) -> list[Group]:
    groups, first, start = [], 0, 0
    while first < len(lengths):
        longest = lengths[first]
        width = fixed_width(longest) if fixed_widths else longest
        joins = partial(_has_width, width) if fixed_widths else partial(_is_similar, longest)
        rows = list(takewhile(joins, lengths[first:]))
        last = first + len(rows)
        group = _group(start, width, rows, positions[first:last], paths)
        groups.append(group)
        first, start = last, start + group.size
    return groups


def fixed_width(length: int) -> int:
    """Slots of a group for rows of `length` >= 1 tokens: 8, 16 … 128, 144 … 256, 288 and so on."""
    step = max(_WIDTH_STEP, (1 << (length - 1).bit_length()) // 16)
    return -(-length // step) * step


def _has_width(width: int, length: int) -> bool:
    return fixed_width(length) == width


def _is_similar(longest: int, length: int) -> bool:
    return length >= min(longest * _GROUP_SHARE, longest - _GROUP_SLOTS)


def _group(
    start: int, width: int, lengths: list[int], positions: Sequence[torch.Tensor], paths: Sequence[tuple[int, ...]]
) -> Group:
    rows, sizes = len(lengths), torch.tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    slots = torch.arange(width)
    filled = slots < sizes[:, None]
    gather = torch.where(filled, starts[:, None] + slots, 0).reshape(-1)
    even = bool(filled.all())
    padded = torch.zeros(rows, width, dtype=torch.long)
    padded[filled] = torch.cat(list(positions))
    return Group(
        start=start,
        size=int(sizes.sum()),
        rows=rows,
        width=width,
        gather=None if even else gather,
        scatter=None if even else filled.reshape(-1).nonzero().squeeze(1),
        lengths=sizes,
        positions=padded,
        blocked=_blocked(sizes, width, paths) if paths else None,
    )


def _blocked(lengths: torch.Tensor, width: int, paths: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Between trie nodes, all but ancestors (and the node itself) are out of sight: ``[B', L, L]``."""
    unrelated = torch.tensor([[path[: len(other)] != other for other in paths] for path in paths])
    blocked = torch.zeros(len(lengths), width, width, dtype=torch.bool)
    for row, length in enumerate(lengths.tolist()):
        at = slice(length - len(paths), length)
        blocked[row, at, at] = unrelated
    return blocked
