"""Dropout masks that are drawn quickly on a CPU.

PyTorch draws one number for every element, on one thread; in a step of MiniLM that took a fifth of the time. Here 64
random bits decide over four elements, which sets the rate to within 1/65,536.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

_LANES = 4
_LEVELS = 1 << 16
_BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def keep_mask(shape: Sequence[int], p: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """0 where an element is dropped, else ``1 / (1 - p)``, which makes up for it; from torch's global generator.

    Args:
        shape: of the mask.
        p: share that is dropped, in [0, 1).
        dtype: floating point.
        device: where it is needed.
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device).bernoulli_(1 - p).div_(1 - p)
    size = math.prod(shape)
    drawn = torch.empty(-(-size // _LANES), dtype=torch.int64).random_(-(1 << 63), None)  # all 64 bits
    kept = drawn.view(torch.int16)[:size] >= round(p * _LEVELS) - _LEVELS // 2
    bits = _BITS.get(dtype)
    if bits is None:
        return kept.to(dtype).div_(1 - p).view(*shape)
    # 0 and 1 times the number's bit pattern: several times as fast as turning truth values into such numbers.
    pattern = int(torch.tensor(1 / (1 - p), dtype=dtype).view(bits))
    return kept.to(bits).mul_(pattern).view(dtype).view(*shape)


class MaskedDropout(nn.Module):
    """An `nn.Dropout` with masks of `keep_mask`.

    Args:
        p: share that is dropped in training, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``, of any shape, with elements dropped in training."""
        if not self.training or self.p == 0.0:
            return x
        return x * keep_mask(x.shape, self.p, x.dtype, x.device)


def mask_quickly(trunk: nn.Module) -> None:
    """Put `MaskedDropout` in the place of a trunk's dropout layers, where that is on a CPU."""
    if any(parameter.device.type != "cpu" for parameter in trunk.parameters()):
        return
    layers = {name: layer for name, layer in trunk.named_modules() if type(layer) is nn.Dropout and layer.p < 1}
    for name, layer in layers.items():
        quick = MaskedDropout(layer.p)
        quick.train(layer.training)
        parent, _, last = name.rpartition(".")
        setattr(trunk.get_submodule(parent), last, quick)
