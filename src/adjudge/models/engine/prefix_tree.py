"""Rows that share more than the prompt's prefix, as a tree: what any of them share is run once.

Template, prompt, answers: K samples of a prompt, the two answers of a pair, the rows behind one cluster's
demonstrations, both orders of a judge. Each node is a segment of tokens behind its parent; positions go on along the
path, and a token sees the nodes before its own and, of its own, what stands before it. So every row's states and
gradients are those of the row alone. A tree whose nodes all stand directly behind the prefix is laid out as `pack`
lays out rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

import torch
from torch.nn.utils.rnn import pad_sequence

from adjudge.core.types import Encoded
from adjudge.models.engine.packed import PackedBatch, SharedSegment, pack
from adjudge.models.engine.prefix_cache import PrefixStates

# Rows that begin alike by fewer tokens than this are not worth a node of their own: see `tree_of_rows`.
LEAST_SHARED = 16


@dataclass(frozen=True)
class Node:
    """A segment of tokens.

    Attributes:
        ids: its tokens, at least one.
        parent: number of the node that it stands behind, a lower one than its own; None for the prefix.
    """

    ids: tuple[int, ...]
    parent: int | None = None


@dataclass(frozen=True)
class PrefixTree:
    """Rows behind a prefix, which share what they have in common.

    Attributes:
        nodes: parents before their children.
        rows: ``[B]`` number of the node that each row ends with; several rows may end with the same one.
    """

    nodes: tuple[Node, ...]
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        for number, node in enumerate(self.nodes):
            if not node.ids or (node.parent is not None and not 0 <= node.parent < number):
                raise ValueError(f"node {number} of the tree has no tokens, or no parent before it: {node}")

    def path(self, number: int) -> list[int]:
        """Numbers of the nodes from the prefix on to this one, itself included."""
        path, at = [], number if self.nodes else None
        while at is not None:
            path.append(at)
            at = self.nodes[at].parent
        return path[::-1]

    def encoded(self) -> list[Encoded]:
        """The rows written out, ``[B]``."""
        return [_encoded([token for at in self.path(row) for token in self.nodes[at].ids]) for row in self.rows]

    @property
    def n_tokens(self) -> int:
        """Tokens that are run, what rows share once."""
        return sum(len(node.ids) for node in self.nodes)


def tree_of_segments(rows: Sequence[Sequence[Sequence[int]]]) -> PrefixTree:
    """The tree of rows that are given in segments: rows that begin with the same segments share those.

    Args:
        rows: ``B`` rows of segments of ids, empty ones left out; every row needs a token.
    """
    numbers: dict[tuple[int | None, tuple[int, ...]], int] = {}
    ends: list[int] = []
    for row in rows:
        at: int | None = None
        for segment in filter(len, map(tuple, row)):
            at = numbers.setdefault((at, segment), len(numbers))
        if at is None:
            raise ValueError(f"row {len(ends)} has no tokens")
        ends.append(at)
    return PrefixTree(tuple(Node(ids, parent) for parent, ids in numbers), tuple(ends))


def tree_of_rows(rows: Sequence[Sequence[int]], least: int = LEAST_SHARED) -> PrefixTree:
    """The tree of rows by their longest common beginnings.

    Args:
        rows: ``B`` rows of ids, none empty.
        least: tokens that rows must share, behind what they share already, for a node of their own.
    """
    ids = [tuple(row) for row in rows]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    common = [_n_common(ids[a], ids[b]) for a, b in pairwise(order)]
    cuts: list[list[int]] = [[] for _ in ids]
    _split(order, common, 0, least, cuts)
    segments = []
    for row, places in zip(ids, cuts, strict=True):
        bounds = [0, *places, len(row)]
        segments.append([row[start:end] for start, end in pairwise(bounds)])
    return tree_of_segments(segments)


def _n_common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two rows have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _split(order: Sequence[int], common: Sequence[int], start: int, least: int, cuts: list[list[int]]) -> None:
    """Note where sorted rows, which share `start` tokens, are cut; `common` are the tokens that neighbours share."""
    pending = [(0, len(order), start)]
    while pending:
        first, last, shared = pending.pop()
        for begin, end in _runs(common, first, last, shared + least):
            length = min(common[begin : end - 1])
            for row in order[begin:end]:
                cuts[row].append(length)
            pending.append((begin, end, length))


def _runs(common: Sequence[int], first: int, last: int, wanted: int) -> Iterator[tuple[int, int]]:
    """The longest stretches of two rows or more in which neighbours share so many tokens."""
    begin = first
    for at in range(first, last):
        if at == last - 1 or common[at] < wanted:
            if at > begin:
                yield begin, at + 1
            begin = at + 1


@dataclass(frozen=True)
class RowTokens:
    """Where the rows' tokens are in a tree's layout, written out row after row, R of them.

    Attributes:
        at: ``[R]`` index of each token behind the prefix, label-trie nodes after a row's own tokens.
        owner: ``[R]`` the row of each.
        own: ``[R]`` False for label-trie nodes.
        answer: ``[B]`` index into these of each row's last token.
        nodes: ``[B, K]`` likewise of each label-trie node.
    """

    at: torch.Tensor
    owner: torch.Tensor
    own: torch.Tensor
    answer: torch.Tensor
    nodes: torch.Tensor

    def padded(self) -> torch.Tensor:
        """``[B, S]``: `at` row by row, filled up with zeros to the longest."""
        lengths = torch.bincount(self.owner, minlength=len(self.answer)).tolist()
        return pad_sequence(list(torch.split(self.at, lengths)), batch_first=True)


def pack_tree(
    tree: PrefixTree,
    prefix_ids: Sequence[int],
    *,
    paths: Sequence[tuple[int, ...]] = (),
    replay: PrefixStates | None = None,
) -> tuple[PackedBatch, RowTokens]:
    """Lay out a tree for a causal model.

    Args:
        tree: one row at least.
        prefix_ids: the shared prefix.
        paths: label-trie nodes to run behind every row, parents first.
        replay: the prefix's keys and values, where they were kept; then its tokens are not run again.

    Returns:
        The batch, and where its rows are in it.
    """
    children: dict[int | None, list[int]] = {}
    for number, node in enumerate(tree.nodes):
        children.setdefault(node.parent, []).append(number)
    seen: dict[int | None, torch.Tensor] = {None: torch.arange(len(prefix_ids))}
    tries: dict[int, torch.Tensor] = {}
    families: list[PackedBatch] = []
    branches: list[SharedSegment] = []
    start, pending = 0, [None, *filter(children.__contains__, range(len(tree.nodes)))]
    for parent in pending:
        path, members = seen[parent], children[parent]
        kept = PrefixStates(len(path)) if branches or families else replay
        rows = [_encoded(tree.nodes[i].ids) for i in members]
        family = pack(
            rows,
            prefix_ids if parent is None else path.tolist(),
            causal=True,
            paths=paths if set(members) & set(tree.rows) else (),
            replay=kept,
        )
        for i, end, trie in zip(members, family.answer + start, family.nodes + start, strict=True):
            own = torch.arange(int(end) - len(tree.nodes[i].ids) + 1, int(end) + 1)
            seen[i], tries[i] = torch.cat([path, own + len(prefix_ids)]), trie
        if families:
            branches.append(SharedSegment(start, path, family))
        families.append(family)
        start += len(family.owner)
    batch = replace(
        families[0],
        ids=torch.cat([family.ids for family in families]),
        positions=torch.cat([family.positions for family in families]),
        owner=torch.cat([family.owner for family in families]),
        own=torch.cat([family.own for family in families]),
        branches=branches,
    )
    behind = [seen[row][len(prefix_ids) :] - len(prefix_ids) for row in tree.rows]
    return batch, _row_tokens(behind, [tries[row] for row in tree.rows])


def _row_tokens(tokens: Sequence[torch.Tensor], tries: Sequence[torch.Tensor]) -> RowTokens:
    lengths = torch.tensor([len(one) for one in tokens])
    n_nodes = len(tries[0])
    ends = (lengths + n_nodes).cumsum(0)
    answer = ends - n_nodes - 1
    return RowTokens(
        at=torch.cat([part for pair in zip(tokens, tries, strict=True) for part in pair]),
        owner=torch.arange(len(tokens)).repeat_interleave(lengths + n_nodes),
        own=torch.cat([torch.arange(n + n_nodes) < n for n in lengths.tolist()]),
        answer=answer,
        nodes=answer[:, None] + 1 + torch.arange(n_nodes),
    )


def _encoded(ids: Sequence[int]) -> Encoded:
    """A row of a tree as the layout takes it: its last token is where its answer is read."""
    return Encoded(tuple(ids[:-1]), tuple(ids[-1:]), len(ids) - 1)
