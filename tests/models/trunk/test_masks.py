"""Dropout masks: the rate, the scale, and what they stand in for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adjudge.models.trunk.masks import MaskedDropout, keep_mask, mask_quickly

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_mask_keeps_its_share_and_makes_up_for_the_rest(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = keep_mask((301, 333), p, dtype, CPU)
    assert mask.dtype == dtype
    kept = mask != 0
    # Five standard deviations of a share of 100,233 draws.
    assert abs(float(kept.double().mean()) - (1 - p)) < 5 * (p * (1 - p) / mask.numel()) ** 0.5
    assert torch.equal(mask[kept], torch.full_like(mask[kept], 1 / (1 - p)))


def test_every_element_is_decided_by_itself() -> None:
    torch.manual_seed(0)
    kept = (keep_mask((4, 50_000), 0.5, torch.float32, CPU) != 0).double()
    # Neighbours share 64 random bits: they must not be correlated, nor may any of the four be off.
    lanes = kept.flatten().view(-1, 4)
    correlation = torch.corrcoef(lanes.T)
    assert float((correlation - torch.eye(4)).abs().max()) < 5 / len(lanes) ** 0.5
    assert float((lanes.mean(0) - 0.5).abs().max()) < 5 * 0.5 / len(lanes) ** 0.5


def test_masks_follow_torchs_seed() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(keep_mask((7, 9), 0.3, torch.float32, CPU))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_layer_drops_values_and_gradients_in_training_alone() -> None:
    layer = MaskedDropout(0.4)
    x = torch.ones(50, 40, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(out, x.grad)
    assert 0 < int((out == 0).sum()) < x.numel()
    layer.eval()
    assert layer(x) is x


def test_a_trunks_dropout_layers_are_replaced_with_their_rates_and_modes() -> None:
    trunk = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Dropout(0.2), nn.Identity()), nn.Dropout(0.7).eval())
    mask_quickly(trunk)
    first, last = trunk[1][0], trunk[2]  # type: ignore[index]
    assert isinstance(first, MaskedDropout)
    assert isinstance(last, MaskedDropout)
    assert (first.p, first.training, last.p, last.training) == (0.2, True, 0.7, False)
