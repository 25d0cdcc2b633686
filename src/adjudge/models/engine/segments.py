"""Attention of many short rows behind one shared front, in plain matrix products with a backward pass by hand.

Rows of similar length are attended together, each with the front's keys and values (a prompt's prefix) before its own,
so a row takes two products and one softmax. Very short rows would pay more for that copy of the front than for the
products; for them the front is multiplied by all rows at once. PyTorch's fused CPU kernel is made for long rows; on
rows of a sentence or two its backward pass alone takes longer than all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adjudge.models.trunk.masks import keep_mask

# The front is repeated for rows of at least so many slots, times query heads of a key-value head. In bfloat16 with two
# threads both ways were nearly equal at 48 behind 400 tokens; with 33 to 171 (emotion rows) repeating was quicker by a
# quarter behind 37 tokens and by a fifth behind 323.
_REPEAT_FROM = 40


@dataclass(frozen=True)
class Segment:
    """Rows of similar length that are attended together; S tokens in B' rows of at most L.

    Attributes:
        start: where its tokens begin.
        size: S.
        rows: B'.
        width: L.
        gather: slot -> token of the segment, ``[B' * L]``; None where all rows have length L.
        scatter: token -> slot, ``[S]``; None likewise.
        mask: what a slot must not see, from `additive_mask`, or None where it sees everything.
    """

    start: int
    size: int
    rows: int
    width: int
    gather: torch.Tensor | None
    scatter: torch.Tensor | None
    mask: torch.Tensor | None


@dataclass(frozen=True)
class Settings:
    """What all segments share.

    Attributes:
        segments: together they hold every token, in order.
        scale: factor of the scores.
        dropout: share of the attention weights that is dropped.
    """

    segments: Sequence[Segment]
    scale: float
    dropout: float = 0.0


def additive_mask(hidden: torch.Tensor, heads: int, group: int, dtype: torch.dtype) -> torch.Tensor:
    """0 where something is seen and -inf where it is hidden, laid out as a segment's scores.

    Args:
        hidden: what a slot must not see of the front and of its row, bool ``[B' or 1, L, F + L]``; a padding slot
            must see something.
        heads: KV.
        group: G query heads for each of them.
        dtype: of the queries.

    Returns:
        ``[KV * B' or 1, L * G, F + L]``.
    """
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)
    mask = mask.repeat_interleave(group, dim=1)
    return mask if len(mask) == 1 else mask.repeat(heads, 1, 1)


def segmented_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    front: tuple[torch.Tensor, torch.Tensor] | None,
    settings: Settings,
) -> torch.Tensor:
    """Attention of every token to the front and to its own row; gradients flow to all five tensors.

    Query heads are grouped by the key-value head that they share (grouped-query attention).

    Args:
        q: ``[KV, T, G, D]``: G query heads for each of KV key-value heads.
        k: ``[KV, T, D]``.
        v: ``[KV, T, D]``.
        front: keys and values ``[KV, F, D]`` that every token sees, or None.
        settings: see `Settings`.

    Returns:
        ``[KV, T, G, D]``.
    """
    front_k, front_v = front if front is not None else (k[:, :0], v[:, :0])
    return _Segmented.apply(q, k, v, front_k, front_v, settings)  # type: ignore[no-any-return, no-untyped-call]


class _Segmented(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        front_k: torch.Tensor,
        front_v: torch.Tensor,
        settings: Settings,
    ) -> torch.Tensor:
        heads, _, group, _ = q.shape
        outputs, weights, drops = [], [], []
        with torch.autocast(q.device.type, enabled=False):
            for part in settings.segments:
                weight = _products(_slots(q, part), front_k, k, part, settings.scale, part.mask).softmax(-1)
                weights.append(weight)
                if settings.dropout:
                    drops.append(keep_mask(weight.shape, settings.dropout, weight.dtype, weight.device))
                    weight = weight * drops[-1]
                outputs.append(_tokens(_sums(weight, front_v, v, part), part, heads, group))
        ctx.settings, ctx.n_weights = settings, len(weights)
        ctx.save_for_backward(q, k, v, front_k, front_v, *weights, *drops)
        return torch.cat(outputs, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, front_k, front_v, *rest = ctx.saved_tensors
        weights, drops = rest[: ctx.n_weights], rest[ctx.n_weights :]
        heads, _, group, _ = q.shape
        scale, upstream = ctx.settings.scale, gradients[0].contiguous()
        queries, keys, values = [], _Gathered(front_k), _Gathered(front_v)
        with torch.autocast(q.device.type, enabled=False):
            for i, part in enumerate(ctx.settings.segments):
                rows = _slots_or_zero(upstream, part)
                d_weight = _products(rows, front_v, v, part)
                used = weights[i]
                if drops:
                    d_weight, used = d_weight.mul_(drops[i]), used * drops[i]
                d_scores = torch._softmax_backward_data(d_weight, weights[i], -1, weights[i].dtype).mul_(scale)
                queries.append(_tokens(_sums(d_scores, front_k, k, part), part, heads, group))
                keys.add(d_scores, _slots(q, part), part)
                values.add(used, rows, part)
            d_queries, d_keys, d_values = torch.cat(queries, dim=1), keys.gradients(), values.gradients()
        return d_queries, d_keys[0], d_values[0], d_keys[1], d_values[1], None


class _Gathered:
    """Gradients of keys or values, which come segment by segment."""

    def __init__(self, front: torch.Tensor) -> None:
        self._front = torch.zeros_like(front, dtype=torch.promote_types(front.dtype, torch.float32))
        self._dtype = front.dtype
        self._own: list[torch.Tensor] = []

    def add(self, weight: torch.Tensor, state: torch.Tensor, part: Segment) -> None:
        """One segment's: weights ``[KV * B', L * G, F + L]`` of states ``[KV * B', L * G, D]``."""
        heads, length, size = self._front.shape
        if length and not _repeats(weight):
            self._front += torch.bmm(_front_part(weight, heads, length).transpose(1, 2), state.view(heads, -1, size))
            weight, length = weight[..., length:], 0
        rows = torch.bmm(weight.transpose(1, 2), state).view(heads, part.rows, length + part.width, size)
        if length:
            self._front += rows[:, :, :length].sum(1, dtype=self._front.dtype)
        own = rows[:, :, length:].reshape(heads, part.rows * part.width, size)
        self._own.append(own if part.scatter is None else own.index_select(1, part.scatter))

    def gradients(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``[KV, T, D]`` of the tokens and ``[KV, F, D]`` of the front."""
        return torch.cat(self._own, dim=1), self._front.to(self._dtype)


def _repeats(slots: torch.Tensor) -> bool:
    """Whether the front is copied before every row's own keys and values, ``[KV * B', L * G, ...]``.

    One product for both is quicker where it is large beside the copy; else all rows are multiplied by it at once.
    """
    return slots.shape[1] >= _REPEAT_FROM


def _products(
    rows: torch.Tensor,
    front: torch.Tensor,
    state: torch.Tensor,
    part: Segment,
    scale: float = 1.0,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each slot times the front and its own row, scaled and masked.

    ``[KV * B', L * G, D]`` -> ``[KV * B', L * G, F + L]``.
    """
    heads, length, size = front.shape
    if not length or _repeats(rows):
        behind = _behind(front, state, part).transpose(1, 2)
        if mask is None and scale == 1.0:
            return torch.bmm(rows, behind)
        # Without a mask too, so that scores are rounded once whether or not a longer row is in the segment.
        return torch.baddbmm(rows.new_zeros(1, 1, 1) if mask is None else mask, rows, behind, alpha=scale)
    inside = torch.bmm(rows, _slots(state, part).transpose(1, 2))
    before = torch.bmm(rows.view(heads, -1, size), front.transpose(1, 2)).view(*inside.shape[:2], length)
    found = torch.cat([before, inside], dim=2).mul_(scale)
    return found if mask is None else found.add_(mask)


def _sums(weight: torch.Tensor, front: torch.Tensor, state: torch.Tensor, part: Segment) -> torch.Tensor:
    """The front and the own row summed by weights ``[KV * B', L * G, F + L]``: ``[KV * B', L * G, D]``."""
    heads, length, _ = front.shape
    if not length or _repeats(weight):
        return torch.bmm(weight, _behind(front, state, part))
    inside = torch.bmm(weight[..., length:], _slots(state, part))
    return inside.add_(torch.bmm(_front_part(weight, heads, length), front).view(inside.shape))


def _behind(front: torch.Tensor, state: torch.Tensor, part: Segment) -> torch.Tensor:
    """``[KV, T, D]`` tokens -> ``[KV * B', F + L, D]``: the front, then the row's slots, for every row."""
    own = _slots(state, part)
    heads, length, size = front.shape
    if not length:
        return own
    parts = [front[:, None].expand(-1, part.rows, -1, -1), own.view(heads, part.rows, part.width, size)]
    return torch.cat(parts, dim=2).view(heads * part.rows, -1, size)


def _front_part(weight: torch.Tensor, heads: int, length: int) -> torch.Tensor:
    """The front's columns of weights, rows of a head together: ``[KV, B' * L * G, F]``."""
    return weight.view(heads, -1, weight.shape[-1])[..., :length]


def _slots(state: torch.Tensor, part: Segment) -> torch.Tensor:
    """``[KV, T, (G,) D]`` tokens -> ``[KV * B', L * G, D]`` slots of a segment; a padding slot holds any token."""
    at = state[:, part.start : part.start + part.size]
    at = at if part.gather is None else at.index_select(1, part.gather)
    return at.reshape(state.shape[0] * part.rows, -1, state.shape[-1])


def _slots_or_zero(state: torch.Tensor, part: Segment) -> torch.Tensor:
    """As `_slots`, with zeros in padding slots, so that nothing flows back from them."""
    if part.scatter is None:
        return _slots(state, part)
    at = state.new_zeros((state.shape[0], part.rows * part.width, *state.shape[2:]))
    at.index_copy_(1, part.scatter, state[:, part.start : part.start + part.size])
    return at.view(state.shape[0] * part.rows, -1, state.shape[-1])


def _tokens(slots: torch.Tensor, part: Segment, heads: int, group: int) -> torch.Tensor:
    """``[KV * B', L * G, D]`` slots -> ``[KV, S, G, D]`` tokens."""
    state = slots.view(heads, part.rows * part.width, group, -1)
    return state if part.scatter is None else state.index_select(1, part.scatter)
