"""Attention of many short rows behind one shared front, in plain matrix products with a backward pass by hand.

The rows' scores against the front (a prompt's prefix) are one product over all tokens of the batch; against their own
keys they are one product for each group of similar length. Both parts are joined by their log-sum-exps, as in
FlashAttention (Dao et al. 2022, section 3.1), so nothing of the front is repeated for every row. PyTorch's fused CPU
kernel is made for long rows; on rows of a sentence or two its backward pass alone takes longer than all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adjudge.models.masks import keep_mask


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
        mask: what a slot must not see of its own row: 0 or -inf, ``[B' or 1, L, L]``, or None.
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
        front_mask: what a token must not see of the front: 0 or -inf, ``[T, F]``, or None.
    """

    segments: Sequence[Segment]
    scale: float
    dropout: float = 0.0
    front_mask: torch.Tensor | None = None


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
    front_k, front_v = front if front is not None else (None, None)
    return _Segmented.apply(q, k, v, front_k, front_v, settings)  # type: ignore[no-any-return, no-untyped-call]


class _Segmented(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        front_k: torch.Tensor | None,
        front_v: torch.Tensor | None,
        settings: Settings,
    ) -> torch.Tensor:
        with torch.autocast(q.device.type, enabled=False):
            out, weights, drops = _forward(q, k, v, front_k, front_v, settings)
        ctx.settings, ctx.n_weights = settings, len(weights)
        ctx.save_for_backward(q, k, v, front_k, front_v, out, *weights, *drops)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, front_k, front_v, out, *rest = ctx.saved_tensors
        weights, drops = rest[: ctx.n_weights], rest[ctx.n_weights :]
        with torch.autocast(q.device.type, enabled=False):
            found = _backward(gradients[0], (q, k, v, front_k, front_v, out), weights, drops, ctx.settings)
        return (*found, None)


def _forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    front_k: torch.Tensor | None,
    front_v: torch.Tensor | None,
    settings: Settings,
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Output, attention weights (the front's first, where there is one), and what was kept of them by dropout."""
    heads, tokens, group, _ = q.shape
    wide = torch.promote_types(q.dtype, torch.float32)
    # Largest score of every query and the sum of exponentials below it: of its own row, then with the front.
    top, total = (q.new_empty((heads, tokens, group, 1), dtype=wide) for _ in range(2))
    own = []
    for part in settings.segments:
        scores = torch.bmm(_slots(q, part), _slots(k, part).transpose(1, 2)).to(wide)
        if part.mask is not None:
            scores.view(heads, part.rows, part.width, group, part.width).add_(part.mask[:, :, None])
        largest, powers, added = _powers(scores, settings.scale)
        at = slice(part.start, part.start + part.size)
        top[:, at], total[:, at] = _tokens(largest, part, heads, group), _tokens(added, part, heads, group)
        own.append(powers)
    share = 1 / total
    weights: list[torch.Tensor] = []
    if front_k is not None:
        scores = torch.bmm(q.reshape(heads, tokens * group, -1), front_k.transpose(1, 2)).to(wide)
        if settings.front_mask is not None:
            scores.view(heads, tokens, group, -1).add_(settings.front_mask[:, None])
        largest, powers, added = (state.view(heads, tokens, group, -1) for state in _powers(scores, settings.scale))
        both = torch.maximum(top, largest)
        share, front_share = (top - both).exp_(), (largest - both).exp_()
        total = total * share + added * front_share
        share /= total
        weights.append((powers * front_share.div_(total)).to(q.dtype).view(heads, tokens * group, -1))
    for part, powers in zip(settings.segments, own, strict=True):
        weights.append((powers * _shares(share, part)).to(q.dtype))
    drops = [keep_mask(w.shape, settings.dropout, w.dtype, w.device) for w in weights] if settings.dropout else []
    used = [weight * keep for weight, keep in zip(weights, drops, strict=True)] if drops else weights
    out = torch.empty_like(q)
    for part, weight in zip(settings.segments, used[len(used) - len(own) :], strict=True):
        out[:, part.start : part.start + part.size] = _tokens(torch.bmm(weight, _slots(v, part)), part, heads, group)
    if front_v is not None:
        out += torch.bmm(used[0], front_v).view(q.shape)
    return out, weights, drops


def _backward(
    gradient: torch.Tensor,
    saved: tuple[Any, ...],
    weights: Sequence[torch.Tensor],
    drops: Sequence[torch.Tensor],
    settings: Settings,
) -> tuple[torch.Tensor | None, ...]:
    """Gradients of queries, keys, values and the front's keys and values."""
    q, k, v, front_k, front_v, out = saved
    heads, tokens, group, size = q.shape
    gradient = gradient.contiguous()
    # Sum over keys of weight times its gradient: the same number for the whole row of the softmax.
    inner = (gradient * out).sum(-1, dtype=torch.promote_types(q.dtype, torch.float32))
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    first = len(weights) - len(settings.segments)
    for i, part in enumerate(settings.segments, start=first):
        keep = drops[i] if drops else None
        upstream = _slots(gradient, part)
        ds, used = _softmax_backward(
            torch.bmm(upstream, _slots(v, part).transpose(1, 2)), weights[i], keep, _inner(inner, part), settings.scale
        )
        at = slice(part.start, part.start + part.size)
        dq[:, at] = _tokens(torch.bmm(ds, _slots(k, part)), part, heads, group)
        dk[:, at] = _tokens(torch.bmm(ds.transpose(1, 2), _slots(q, part)), part, heads, 1)[:, :, 0]
        dv[:, at] = _tokens(torch.bmm(used.transpose(1, 2), upstream), part, heads, 1)[:, :, 0]
    if front_k is None or front_v is None:
        return dq, dk, dv, None, None
    rows, queries = gradient.view(heads, tokens * group, size), q.reshape(heads, tokens * group, size)
    ds, used = _softmax_backward(
        torch.bmm(rows, front_v.transpose(1, 2)),
        weights[0],
        drops[0] if drops else None,
        inner.view(heads, -1, 1),
        settings.scale,
    )
    dq += torch.bmm(ds, front_k).view(q.shape)
    return dq, dk, dv, torch.bmm(ds.transpose(1, 2), queries), torch.bmm(used.transpose(1, 2), rows)


def _softmax_backward(
    upstream: torch.Tensor, weight: torch.Tensor, keep: torch.Tensor | None, inner: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of scaled scores, and the weights as they were used, after dropout."""
    if keep is None:
        return (upstream - inner).mul_(weight).mul_(scale).to(weight.dtype), weight
    return (upstream * keep - inner).mul_(weight).mul_(scale).to(weight.dtype), weight * keep


def _slots(state: torch.Tensor, part: Segment) -> torch.Tensor:
    """``[KV, T, (G,) D]`` tokens -> ``[KV * B', L * G, D]`` slots of a segment."""
    at = state[:, part.start : part.start + part.size]
    at = at if part.gather is None else at.index_select(1, part.gather)
    return at.reshape(state.shape[0] * part.rows, -1, state.shape[-1])


def _tokens(slots: torch.Tensor, part: Segment, heads: int, group: int) -> torch.Tensor:
    """``[KV * B', L * G, D]`` slots -> ``[KV, S, G, D]`` tokens."""
    state = slots.view(heads, part.rows * part.width, group, -1)
    return state if part.scatter is None else state.index_select(1, part.scatter)


def _powers(scores: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Largest scaled score ``[..., 1]``, exponentials of the scaled scores less that, and their sum ``[..., 1]``.

    Overwrites the scores. Where everything is hidden, the largest is a large negative number and the sum is 0.
    """
    largest = scores.amax(-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min / 2)
    powers = scores.sub_(largest).mul_(scale).exp_()
    return largest.mul_(scale), powers, powers.sum(-1, keepdim=True)


def _shares(share: torch.Tensor, part: Segment) -> torch.Tensor:
    """``[KV, T, G, 1]`` factors in the layout of a segment's scores; padding gets 0, so that it weighs nothing."""
    if part.scatter is None:
        return _slots(share, part)
    at = share.new_zeros((share.shape[0], part.rows * part.width, *share.shape[2:]))
    at.index_copy_(1, part.scatter, share[:, part.start : part.start + part.size])
    return at.view(share.shape[0] * part.rows, -1, 1)


def _inner(inner: torch.Tensor, part: Segment) -> torch.Tensor:
    return _slots(inner[..., None], part)
