"""Attention in plain products against a masked softmax written out, values and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from adjudge.models.engine import segments as module
from adjudge.models.engine.segments import Segment, Settings, additive_mask, segmented_attention

KV, G, D, FRONT = 2, 3, 4, 5
LENGTHS = (4, 4, 3, 2, 2)  # two segments: three rows of up to 4, two rows of 2
SCALE = 0.7


def segments(hidden: torch.Tensor, heads: int = KV) -> list[Segment]:
    """The rows as segments; `hidden`, ``[T, F]``, is what a token must not see of the front."""
    causal = torch.ones(4, 4).triu(1).bool().expand(3, -1, -1)
    slots = torch.zeros(3, 4, hidden.shape[1]).bool()
    slots.view(12, -1)[:11] = hidden[:11]
    gather = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0])
    uneven = torch.cat([slots, causal], dim=-1)
    even = torch.cat([hidden[11:].view(2, 2, -1), causal[:2, :2, :2]], dim=-1)
    first, second = (additive_mask(mask, heads, G, torch.float64) for mask in (uneven, even))
    return [
        Segment(0, 11, 3, 4, gather, torch.arange(11), first),
        Segment(11, 4, 2, 2, None, None, second),
    ]


def seen(front: int = FRONT) -> torch.Tensor:
    return torch.zeros(sum(LENGTHS), front).bool()


def tensors(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(LENGTHS)
    shapes = [(KV, tokens, G, D), (KV, tokens, D), (KV, tokens, D), (KV, FRONT, D), (KV, FRONT, D)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_scores_are_rounded_alike_whether_or_not_a_longer_row_brings_a_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    width, size = 24, 32
    q, k, v = (
        torch.randn((KV, width, *shape), generator=generator).bfloat16() for shape in ((1, size), (size,), (size,))
    )
    nothing = additive_mask(torch.zeros(1, width, width).bool(), KV, 1, q.dtype)
    outputs = [
        segmented_attention(q, k, v, None, Settings([Segment(0, width, 1, width, None, None, mask)], size**-0.5))
        for mask in (None, nothing)
    ]
    assert torch.equal(*outputs)


def written_out(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, fk: torch.Tensor, fv: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Every row alone: keys of front and row in one softmax."""
    outputs, start = [], 0
    for length in LENGTHS:
        at = slice(start, start + length)
        keys = torch.cat([fk, k[:, at]], dim=1)
        values = torch.cat([fv, v[:, at]], dim=1)
        scores = SCALE * torch.einsum("htgd,hsd->htgs", q[:, at], keys)
        own = torch.ones(length, length).triu(1).bool()
        scores = scores.masked_fill(torch.cat([hidden[at], own], dim=1)[None, :, None], -math.inf)
        outputs.append(torch.einsum("htgs,hsd->htgd", scores.softmax(-1), values))
        start += length
    return torch.cat(outputs, dim=1)


@pytest.fixture(params=["front repeated", "front once"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to attend to the front."""
    monkeypatch.setattr(module, "_REPEAT_FROM", 0 if request.param == "front repeated" else 1000)


@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_are_those_of_a_masked_softmax(masked: bool) -> None:
    hidden = seen()
    if masked:
        hidden[::2, :3] = True
        hidden[3] = True  # a token that sees nothing of the front
    inputs = tensors()
    q, k, v, fk, fv = inputs
    found = segmented_attention(q, k, v, (fk, fv), Settings(segments(hidden), SCALE))
    expected = written_out(q, k, v, fk, fv, hidden)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = torch.autograd.grad(found, inputs, upstream)
    wanted = torch.autograd.grad(expected, inputs, upstream)
    for name, a, b in zip(("q", "k", "v", "front k", "front v"), got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, msg=name)


def test_without_a_front_a_row_sees_itself_alone() -> None:
    q, k, v, fk, fv = tensors()
    found = segmented_attention(q, k, v, None, Settings(segments(seen(0)), SCALE))
    expected = written_out(q, k, v, fk[:, :0], fv[:, :0], seen(0))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    changed = v.detach().clone()
    changed[:, :4] += 1.0  # the first row's values
    other = segmented_attention(q, k, changed, None, Settings(segments(seen(0)), SCALE))
    assert torch.equal(other[:, 4:], found[:, 4:])
    assert not torch.equal(other[:, :4], found[:, :4])


def test_gradients_with_dropout_are_those_of_finite_differences() -> None:
    inputs = [state[:1, ..., :2].detach().requires_grad_() for state in tensors(2)]  # one key-value head, two channels

    def attend(*states: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)  # the same weights are dropped every time
        q, k, v, fk, fv = states
        return segmented_attention(q, k, v, (fk, fv), Settings(segments(seen(), heads=1), SCALE, dropout=0.3))

    with torch.random.fork_rng():
        assert torch.autograd.gradcheck(attend, inputs, atol=1e-7)


def test_dropout_keeps_the_mean() -> None:
    q, k, v, fk, fv = (state.detach() for state in tensors())
    plain = segmented_attention(q, k, v, (fk, fv), Settings(segments(seen()), SCALE))
    settings = Settings(segments(seen()), SCALE, dropout=0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mean = torch.stack([segmented_attention(q, k, v, (fk, fv), settings) for _ in range(2000)]).mean(0)
    torch.testing.assert_close(mean, plain, rtol=0, atol=0.12)
