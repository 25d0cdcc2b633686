"""Attention of a packed batch: every row sees the shared prefix and itself, in the form that Transformers asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from adjudge.models.engine.flash import FlashKernel, RowLayout, flash_attention, lay_out, lay_out_paths, to_device
from adjudge.models.engine.next_tokens import NextTokens
from adjudge.models.engine.packed import Group, PackedBatch
from adjudge.models.engine.segments import Segment, Settings, additive_mask, segmented_attention

ATTENTION_NAME = "adjudge_packed"

# On a CPU, rows up to this width go through plain products, longer ones through PyTorch's fused kernel, whose memory
# does not grow with the square of the length.
SHORT_WIDTH = 256

# Arguments of Transformers' attention functions that change nothing here.
_HARMLESS = frozenset(
    {"packed", "position_ids", "use_cache", "cache_position", "output_attentions", "is_causal", "deterministic"}
)
_KNOWN = _HARMLESS | {"scaling", "dropout", "sliding_window"}


States = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries ``[heads, T, D]``, keys and values ``[kv_heads, T, D]``."""
Front = tuple[torch.Tensor, torch.Tensor]
"""Keys and values ``[kv_heads, P, D]`` that all rows see."""


class NotPackableError(Exception):
    """The architecture asks its attention for something that the packed form does not do."""


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
        options: ``packed`` (a `PackedBatch`, or the `NextTokens` of rows that are being written), ``scaling``,
            ``dropout``, ``sliding_window``.

    Returns:
        ``[1, T, heads, D]`` and no weights.

    Raises:
        NotPackableError: the layer wants a bias, a soft cap, sinks, or anything else that is not known here.
    """
    batch: PackedBatch | NextTokens | None = options.get("packed")
    if batch is None:
        raise NotPackableError("nothing: the model does not hand its arguments on to it")
    unknown = [name for name, option in options.items() if name not in _KNOWN and option is not None]
    if unknown or attention_mask is not None:
        raise NotPackableError(", ".join(sorted(unknown)) or "an attention mask of its own")
    window: int | None = options.get("sliding_window")
    scale = float(options.get("scaling") or query.shape[-1] ** -0.5)
    dropout = float(options.get("dropout") or 0.0)
    q, k, v = (_computed(state)[0] for state in (query, key, value))
    if isinstance(batch, NextTokens):
        return batch.attend(q, k, v, window, scale)[None], None
    if window is not None and batch.both_ways:
        window += 1
    if batch.learned is not None:
        k, v = batch.learned.put(module, k, v)
    front = _front(batch, k, v)
    if batch.keep is not None:
        batch.keep.append((k[:, batch.leading :], v[:, batch.leading :]))
    if batch.flash is not None:
        return _flash(batch, batch.flash, (q, k, v), front, window, scale), None
    attend = _tree if batch.branches else _rows
    return attend(batch, (q, k, v), front, window, scale, dropout)[None], None


def _tree(
    batch: PackedBatch, states: States, front: Front | None, window: int | None, scale: float, dropout: float
) -> torch.Tensor:
    """The prefix and the rows behind it, then the rows behind each node of a tree: ``[T, heads, D]``."""
    q, k, v = states
    starts = [batch.leading + branch.start for branch in batch.branches]
    outputs = [_rows(batch, _cut(states, 0, starts[0]), front, window, scale, dropout)]
    seen = (k, v)
    if front is not None and not batch.leading:
        seen = (torch.cat([front[0], k], dim=1), torch.cat([front[1], v], dim=1))
    if "paths" not in batch.masks:
        batch.masks["paths"] = torch.cat([branch.path for branch in batch.branches])
    sizes = [branch.rows.prefix for branch in batch.branches]
    paths = [torch.split(state.index_select(1, batch.masks["paths"]), sizes, dim=1) for state in seen]
    ends = [*starts[1:], q.shape[1]]
    for branch, path, start, end in zip(batch.branches, zip(*paths, strict=True), starts, ends, strict=True):
        outputs.append(_rows(branch.rows, _cut(states, start, end), path, window, scale, dropout))
    return torch.cat(outputs)


def _cut(states: States, start: int, end: int) -> States:
    """The tokens from one place to another."""
    q, k, v = (state[:, start:end] for state in states)
    return q, k, v


def _rows(
    batch: PackedBatch, states: States, front: Front | None, window: int | None, scale: float, dropout: float
) -> torch.Tensor:
    """The prefix, where it is run, and rows that see it and themselves: ``[T, heads, D]``."""
    q, k, v = states
    long = _n_long(batch.groups, q.device)
    n_long = sum(group.size for group in batch.groups[:long])
    sizes = [batch.leading, n_long, q.shape[1] - batch.leading - n_long]
    parts = [torch.split(state, sizes, dim=1) for state in (q, k, v)]
    outputs = []
    if sizes[0]:
        outputs.append(_prefix(parts[0][0], parts[1][0], parts[2][0], window, scale, dropout))
    if sizes[1]:
        masks = [_fused_mask(batch, group, window, q.dtype) for group in batch.groups[:long]]
        rows = tuple(part[1].transpose(0, 1) for part in parts)
        outputs += _fused(rows, front, batch.groups[:long], masks, scale, dropout)
    if sizes[2]:
        settings = _settings(batch, batch.groups[long:], window, scale, dropout, parts[0][2], len(k))
        outputs.append(_plain(parts[0][2], parts[1][2], parts[2][2], front, settings))
    return torch.cat(outputs)


def _flash(
    batch: PackedBatch,
    kernel: FlashKernel,
    states: States,
    front: Front | None,
    window: int | None,
    scale: float,
) -> torch.Tensor:
    """FlashAttention of all rows at once, whatever their lengths: ``[1, T, heads, D]``."""
    q, k, v = states
    lead = batch.leading
    outputs = [_prefix(q[:, :lead], k[:, :lead], v[:, :lead], window, scale, 0.0)] if lead else []
    if batch.groups:
        if "flash" not in batch.masks:
            batch.masks["flash"] = to_device(_flash_rows(batch), q.device)
        reach = -1 if window is None else window - 1
        limits = (reach, 0 if batch.causal else reach)
        own = (q[:, lead:], k[:, lead:], v[:, lead:])
        if batch.branches and front is None:
            front = (k[:, :0], v[:, :0])  # a tree's keys are picked even where nothing stands before all of them
        outputs.append(flash_attention(kernel, own, front, batch.masks["flash"], scale=scale, window=limits))
    return torch.cat(outputs)[None]


def _flash_rows(batch: PackedBatch) -> RowLayout:
    """Where each row's keys lie: the prefix's and its own, in a tree those of its path and its own."""
    families = [batch, *(branch.rows for branch in batch.branches)]
    lengths = [torch.cat([group.lengths for group in family.groups]).cpu() for family in families]
    if not batch.branches:
        return lay_out(lengths[0], batch.prefix)
    paths = [torch.arange(batch.prefix), *(branch.path.cpu() for branch in batch.branches)]
    return lay_out_paths(lengths, paths, batch.prefix)


def _computed(state: torch.Tensor) -> torch.Tensor:
    """The state in the precision that matrix products are computed in."""
    device = state.device.type
    return state.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else state


def _front(batch: PackedBatch, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Keys and values ``[kv_heads, P, D]`` that all rows see: the prefix's, of this pass or kept from an earlier."""
    if batch.replay is not None:
        kept = batch.replay.layers[batch.replayed]
        batch.replayed += 1
        return kept
    if not batch.prefix:
        return None
    front = (k[:, : batch.prefix], v[:, : batch.prefix])
    if batch.record is not None:
        batch.record.layers.append((front[0].contiguous(), front[1].contiguous()))
    return front


def _n_long(groups: Sequence[Group], device: torch.device) -> int:
    """How many groups, widest first, are for the fused kernel."""
    if device.type != "cpu":
        return len(groups)
    return sum(group.width > SHORT_WIDTH for group in groups)


def _plain(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    front: tuple[torch.Tensor, torch.Tensor] | None,
    settings: Settings,
) -> torch.Tensor:
    """`segmented_attention` of ``[heads, T, D]``: ``[T, heads, D]``."""
    heads, tokens, size = q.shape
    grouped = q.view(len(k), heads // len(k), tokens, size).transpose(1, 2).contiguous()
    out = segmented_attention(grouped, k.contiguous(), v.contiguous(), front, settings)
    return out.transpose(0, 1).reshape(tokens, heads, size)


def _settings(
    batch: PackedBatch,
    groups: Sequence[Group],
    window: int | None,
    scale: float,
    dropout: float,
    q: torch.Tensor,
    heads: int,
) -> Settings:
    """The short groups as segments. Made once a batch for all layers of a kind."""
    key = ("plain", window, scale, dropout, len(q), heads, q.dtype)
    if key not in batch.masks:
        segments = []
        for group in groups:
            hidden = _hidden(batch, group, window)
            mask = None if hidden is None else additive_mask(hidden, heads, len(q) // heads, q.dtype)
            start = group.start - groups[0].start
            segments.append(Segment(start, group.size, group.rows, group.width, group.gather, group.scatter, mask))
        batch.masks[key] = Settings(segments, scale, dropout)
    found: Settings = batch.masks[key]
    return found


def _prefix(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, scale: float, dropout: float
) -> torch.Tensor:
    """Causal attention of the prefix ``[heads, P, D]`` to itself: ``[P, heads, D]``."""
    width = q.shape[1]
    at = torch.arange(width, device=q.device)
    distance = at[:, None] - at[None, :]
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    if q.device.type == "cpu" and width <= SHORT_WIDTH:
        mask = additive_mask(hidden[None], len(k), len(q) // len(k), q.dtype)
        segment = Segment(0, width, 1, width, None, None, mask)
        return _plain(q, k, v, None, Settings([segment], scale, dropout))
    keys, values = _match_heads(q[None], k[None], v[None])
    near = window is None or width <= window
    options: dict[str, Any] = {"is_causal": True} if near else {"attn_mask": ~hidden}
    out = scaled_dot_product_attention(q[None], keys, values, scale=scale, dropout_p=dropout, **options)
    return out[0].transpose(0, 1)


def _fused(
    states: Sequence[torch.Tensor],
    front: tuple[torch.Tensor, torch.Tensor] | None,
    groups: Sequence[Group],
    masks: Sequence[torch.Tensor | None],
    scale: float,
    dropout: float,
) -> list[torch.Tensor]:
    """PyTorch's fused attention, group by group, of queries, keys and values ``[T, heads, D]``."""
    outputs = []
    for group, mask in zip(groups, masks, strict=True):
        at = slice(group.start, group.start + group.size)
        q, k, v = (_to_slots(state[at], group) for state in states)
        if front is not None:
            k, v = (
                torch.cat([part[None].expand(group.rows, -1, -1, -1), own], dim=2)
                for part, own in zip(front, (k, v), strict=True)
            )
        k, v = _match_heads(q, k, v)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, dropout_p=dropout)
        slots = attended.transpose(1, 2).reshape(group.rows * group.width, *q.shape[1::2])
        outputs.append(slots if group.scatter is None else slots.index_select(0, group.scatter))
    return outputs


def _fused_mask(batch: PackedBatch, group: Group, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Additive mask ``[B' or 1, 1, L, P + L]`` of a group, or None where nothing is hidden. Made once a batch."""
    key = ("fused", group.start, window, dtype)
    if key not in batch.masks:
        hidden = _hidden(batch, group, window)
        batch.masks[key] = None if hidden is None else additive_mask(hidden, 1, 1, dtype)[:, None]
    found: torch.Tensor | None = batch.masks[key]
    return found


def _hidden(batch: PackedBatch, group: Group, window: int | None) -> torch.Tensor | None:
    """What a slot must not see of the prefix and of its own row, ``[B' or 1, L, P + L]``, or None."""
    own, front = _hidden_of_row(batch, group, window), _hidden_of_front(batch, group, window)
    if own is None and front is None:
        return None
    rows = group.rows if front is not None else len(own) if own is not None else 1
    none = group.positions.new_zeros(rows, group.width, 1).bool()
    front = none.expand(-1, -1, batch.prefix) if front is None else front
    own = none.expand(-1, -1, group.width) if own is None else own.expand(rows, -1, -1)
    return torch.cat([front, own], dim=-1)


def _hidden_of_row(batch: PackedBatch, group: Group, window: int | None) -> torch.Tensor | None:
    """What a slot must not see of its own row, ``[B' or 1, L, L]``, or None where it sees everything.

    Known without looking at a tensor's values, for which a GPU would have to wait.
    """
    slots = torch.arange(group.width, device=group.positions.device)
    hidden = None
    if batch.causal and group.width > 1:
        hidden = (slots[None, :] > slots[:, None])[None]
        hidden = hidden if group.blocked is None else hidden | group.blocked
    elif not batch.causal and group.gather is not None:
        hidden = (slots >= group.lengths[:, None])[:, None, :].expand(-1, group.width, -1)
    if not batch.causal and group.blocked is not None:
        # Nodes look back; the prompt, which looks both ways, must not see them.
        nodes = slots >= group.lengths[:, None] - batch.nodes.shape[1]
        ahead = group.blocked | (nodes[:, None, :] & (slots[None, :] > slots[:, None]))
        hidden = ahead if hidden is None else hidden | ahead
    if window is not None and group.width > window:
        # Windows count the token itself: to the left, or to either side of an encoder's token.
        far = (group.positions[:, :, None] - group.positions[:, None, :]).abs() >= window
        hidden = far if hidden is None else hidden | far
    # A padding slot that sees nothing would be NaN; let it see itself, nobody reads it.
    return None if hidden is None else hidden & (slots[None, :] != slots[:, None])


def _hidden_of_front(batch: PackedBatch, group: Group, window: int | None) -> torch.Tensor | None:
    """What a slot must not see of the prefix, ``[B', L, P]``, or None where it sees all of it."""
    if window is None or not batch.prefix or batch.prefix + group.width <= window:
        return None
    before = torch.arange(batch.prefix, device=group.positions.device)
    return (group.positions[:, :, None] - before) >= window


def _to_slots(state: torch.Tensor, group: Group) -> torch.Tensor:
    """``[size, heads, D]`` tokens -> ``[B', heads, L, D]`` slots."""
    slots = state if group.gather is None else state.index_select(0, group.gather)
    return slots.reshape(group.rows, group.width, *state.shape[1:]).transpose(1, 2)


def _match_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Repeat key-value heads to the number of query heads (grouped-query attention)."""
    times = q.shape[1] // k.shape[1]
    if times == 1:
        return k, v
    return k.repeat_interleave(times, dim=1), v.repeat_interleave(times, dim=1)
