"""The packed layout: a batch as one sequence, the shared prefix once, then every row's own tokens.

Linear layers see real tokens only. Attention runs per row, with the prefix's keys and values in front of the row's
own, so a row never sees its neighbours; positions restart behind the prefix. Rows are ordered by length and attended
in groups of similar length, so padding exists inside attention alone and is small there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from adjudge.core.types import Encoded

ATTENTION_NAME = "adjudge_packed"

# A row joins a group of longer rows where that wastes at most this share of its slots, or this many slots.
_GROUP_SHARE = 0.75
_GROUP_SLOTS = 8

# Arguments of Transformers' attention functions that change nothing here.
_HARMLESS = frozenset(
    {"packed", "position_ids", "use_cache", "cache_position", "output_attentions", "is_causal", "deterministic"}
)


class NotPackableError(Exception):
    """The architecture asks its attention for something that the packed form does not do."""


@dataclass
class Group:
    """Rows of similar length that are attended together.

    Attributes:
        start: where the group's tokens begin behind the prefix.
        size: number of the group's tokens.
        rows: number of rows, B'.
        width: length of the longest, L.
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
    masks: dict[tuple[Any, ...], torch.Tensor | None] = field(default_factory=dict)


@dataclass
class PackedBatch:
    """A batch in the packed layout. T tokens in all: P of the prefix, then the rows', longest row first.

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


def pack(
    encoded: Sequence[Encoded], prefix_ids: Sequence[int], *, causal: bool, paths: Sequence[tuple[int, ...]] = ()
) -> PackedBatch:
    """Lay out a batch.

    Args:
        encoded: the rows, B >= 1 of them, each with at least one token.
        prefix_ids: the shared prefix; an encoder's rows each get a copy, since they look both ways.
        causal: whether the model is causal.
        paths: label-trie nodes to run behind every row, parents first (`LabelTrie.nodes`).
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
    flat_ids = shared + [token for i in order for token in rows[i]]
    return PackedBatch(
        ids=torch.tensor(flat_ids, dtype=torch.long),
        positions=torch.cat([torch.arange(len(shared)), *row_positions]),
        prefix=len(shared),
        causal=causal,
        groups=_groups(lengths, row_positions, paths),
        owner=torch.tensor(order).repeat_interleave(torch.tensor(lengths)),
        answer=(starts + own_lengths - 1)[by_caller],
        nodes=((starts + own_lengths)[:, None] + node_offsets)[by_caller],
        own=torch.cat([torch.arange(n) < n - len(paths) for n in lengths]),
    )


def _groups(
    lengths: Sequence[int], positions: Sequence[torch.Tensor], paths: Sequence[tuple[int, ...]]
) -> list[Group]:
    groups, first, start = [], 0, 0
    while first < len(lengths):
        width, last = lengths[first], first
        while last < len(lengths) and lengths[last] >= min(width * _GROUP_SHARE, width - _GROUP_SLOTS):
            last += 1
        group = _group(start, list(lengths[first:last]), positions[first:last], paths)
        groups.append(group)
        first, start = last, start + group.size
    return groups


def _group(
    start: int, lengths: list[int], positions: Sequence[torch.Tensor], paths: Sequence[tuple[int, ...]]
) -> Group:
    width, rows, sizes = lengths[0], len(lengths), torch.tensor(lengths)
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


def _mask(batch: PackedBatch, group: Group, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Additive mask ``[B' or 1, 1, L, P + L]`` of a group, or None where nothing is hidden. Made once a batch."""
    key = (window, dtype)
    if key not in group.masks:
        group.masks[key] = _build_mask(batch, group, window, dtype)
    return group.masks[key]


def _build_mask(batch: PackedBatch, group: Group, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
    slots = torch.arange(group.width, device=group.positions.device)
    if batch.causal:
        hidden = (slots[None, :] > slots[:, None])[None]
        if group.blocked is not None:
            hidden = hidden | group.blocked
    elif group.gather is not None:
        hidden = (slots >= group.lengths[:, None])[:, None, :].expand(-1, group.width, -1)
    else:
        hidden = torch.zeros(1, group.width, group.width, dtype=torch.bool, device=slots.device)
    hidden = torch.cat([hidden.new_zeros(*hidden.shape[:2], batch.prefix), hidden], dim=-1)
    if window is not None:
        before = torch.arange(batch.prefix, device=slots.device).expand(group.rows, -1)
        keys = torch.cat([before, group.positions], dim=1)
        distance = group.positions[:, :, None] - keys[:, None, :]
        # Windows count the token itself: to the left, or to either side of an encoder's token.
        hidden = hidden | (distance.abs() >= window)
    if not bool(hidden.any()):
        return None
    # A padding slot that sees nothing would be NaN; let it see itself, nobody reads it.
    rescue = torch.eye(group.width, dtype=torch.bool, device=slots.device)
    hidden[..., batch.prefix :] &= ~rescue
    return torch.zeros(hidden.shape, dtype=dtype, device=slots.device).masked_fill_(hidden, -torch.inf)[:, None]


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a packed batch, in the form of Transformers' attention functions.

    Args:
        module: the calling attention layer.
        query: ``[1, heads, T, D]``; key and value ``[1, kv_heads, T, D]``.
        key: see query.
        value: see query.
        attention_mask: must be None; the layout knows what each row sees.
        options: ``packed`` (the `PackedBatch`), ``scaling``, ``dropout``, ``sliding_window``.

    Returns:
        ``[1, T, heads, D]`` and no weights.

    Raises:
        NotPackableError: the layer wants a bias, a soft cap, sinks, or anything else that is not known here.
    """
    batch: PackedBatch | None = options.get("packed")
    if batch is None:
        raise NotPackableError("nothing: the model does not hand its arguments on to it")
    unknown = [
        name
        for name, value_ in options.items()
        if name not in _HARMLESS | {"scaling", "dropout", "sliding_window"} and value_ is not None
    ]
    if unknown or attention_mask is not None:
        raise NotPackableError(", ".join(sorted(unknown)) or "an attention mask of its own")
    window: int | None = options.get("sliding_window")
    settings: dict[str, Any] = {"scale": options.get("scaling"), "dropout_p": float(options.get("dropout") or 0.0)}
    q, k, v = (state[0].transpose(0, 1) for state in (query, key, value))
    outputs = []
    prefix_k = prefix_v = None
    if batch.prefix:
        prefix_k, prefix_v = k[: batch.prefix], v[: batch.prefix]
        outputs.append(_attend_prefix(q[: batch.prefix], prefix_k, prefix_v, window, settings))
    for group in batch.groups:
        at = slice(batch.prefix + group.start, batch.prefix + group.start + group.size)
        rows = [_to_slots(state[at], group) for state in (q, k, v)]
        if prefix_k is not None and prefix_v is not None:
            rows[1] = torch.cat([_repeat(prefix_k, group.rows), rows[1]], dim=2)
            rows[2] = torch.cat([_repeat(prefix_v, group.rows), rows[2]], dim=2)
        mask = _mask(batch, group, window, q.dtype)
        attended = scaled_dot_product_attention(
            rows[0], *_match_heads(rows[0], rows[1], rows[2]), attn_mask=mask, **settings
        )
        outputs.append(_from_slots(attended, group))
    return torch.cat(outputs)[None], None


def _attend_prefix(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, settings: dict[str, Any]
) -> torch.Tensor:
    """Causal attention of the prefix to itself: ``[P, heads, D]``."""
    q, k, v = (state.transpose(0, 1)[None] for state in (q, k, v))
    k, v = _match_heads(q, k, v)
    if window is not None and q.shape[2] > window:
        at = torch.arange(q.shape[2], device=q.device)
        distance = at[:, None] - at[None, :]
        settings = {**settings, "attn_mask": (distance >= 0) & (distance < window)}
    else:
        settings = {**settings, "is_causal": True}
    return scaled_dot_product_attention(q, k, v, **settings)[0].transpose(0, 1)


def _to_slots(state: torch.Tensor, group: Group) -> torch.Tensor:
    """``[size, heads, D]`` tokens -> ``[B', heads, L, D]`` slots."""
    slots = state if group.gather is None else state.index_select(0, group.gather)
    return slots.reshape(group.rows, group.width, *state.shape[1:]).transpose(1, 2)


def _from_slots(state: torch.Tensor, group: Group) -> torch.Tensor:
    """``[B', heads, L, D]`` slots -> ``[size, heads, D]`` tokens."""
    slots = state.transpose(1, 2).reshape(group.rows * group.width, state.shape[1], state.shape[3])
    return slots if group.scatter is None else slots.index_select(0, group.scatter)


def _repeat(prefix: torch.Tensor, rows: int) -> torch.Tensor:
    """``[P, heads, D]`` -> ``[rows, heads, P, D]`` without copying."""
    return prefix.transpose(0, 1)[None].expand(rows, -1, -1, -1)


def _match_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Repeat key-value heads to the number of query heads (grouped-query attention)."""
    times = q.shape[1] // k.shape[1]
    if times == 1:
        return k, v
    return k.repeat_interleave(times, dim=1), v.repeat_interleave(times, dim=1)
