"""LoRA layers computed as one operation, and frozen weights kept in the precision that they are computed in.

PEFT's layer is a chain of small ones: two casts, three products, a scaling and an addition over the whole output, each
with a backward pass of its own. Here a layer is one product with the frozen weights and thin ones on either side that
add into its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear


class LowRankLinear(nn.Module):
    """A linear layer with a low-rank update (Hu et al. 2021, equation 3): ``y = x W' + b + s (x A') B'``.

    Holds the modules of PEFT's layer under PEFT's names, so states are saved and loaded as before.

    Args:
        layer: PEFT's LoRA layer on a frozen `nn.Linear`, without dropout.
        adapter: the name of its one adapter.
    """

    def __init__(self, layer: Any, adapter: str) -> None:
        super().__init__()
        self.base_layer: nn.Linear = layer.base_layer
        self.lora_A: nn.ModuleDict = layer.lora_A
        self.lora_B: nn.ModuleDict = layer.lora_B
        self.scaling = float(layer.scaling[adapter])
        self._adapter = adapter
        self._layer = (layer,)  # in a tuple, so that it is no submodule a second time

    @property
    def original(self) -> nn.Module:
        """PEFT's layer, whose weights these are."""
        layer: nn.Module = self._layer[0]
        return layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., in]`` -> ``[..., out]``."""
        a, b = self.lora_A[self._adapter].weight, self.lora_B[self._adapter].weight
        flat = x.reshape(-1, x.shape[-1])
        found: torch.Tensor = _LowRank.apply(flat, self.base_layer.weight, self.base_layer.bias, a, b, self.scaling)  # type: ignore[no-untyped-call]
        return found.view(*x.shape[:-1], found.shape[-1])  # out here: a Function's own view cannot be changed in place


class _LowRank(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            flat, w = x.to(dtype), weight.to(dtype)
            down, up = a.to(dtype), (b * scaling).to(dtype)
            inner = flat @ down.T
            out = linear(flat, w, None if bias is None else bias.to(dtype)).addmm_(inner, up.T)
        ctx.save_for_backward(flat, w, down, up, inner)
        ctx.scaling = scaling
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, w, down, up, inner = ctx.saved_tensors
        gradient = gradients[0]
        with torch.autocast(flat.device.type, enabled=False):
            d_inner = gradient @ up
            dx = (gradient @ w).addmm_(d_inner, down) if ctx.needs_input_grad[0] else None
            da = d_inner.T @ flat
            db = (gradient.T @ inner).mul_(ctx.scaling)
        return dx, None, None, da, db, None


def fuse_lora(trunk: nn.Module) -> int:
    """Put `LowRankLinear` in the place of PEFT's plain LoRA layers; returns how many.

    Layers with dropout, DoRA, several adapters, merged or trained base weights stay as they are.
    """
    from peft.tuners.lora.layer import Linear

    plain = {name: layer for name, layer in trunk.named_modules() if type(layer) is Linear and _is_plain(layer)}
    for name, layer in plain.items():
        _replace(trunk, name, LowRankLinear(layer, layer.active_adapters[0]))
    return len(plain)


def unfuse_lora(trunk: nn.Module) -> None:
    """Put PEFT's layers back, for whoever merges or inspects them."""
    fused = {name: layer for name, layer in trunk.named_modules() if isinstance(layer, LowRankLinear)}
    for name, layer in fused.items():
        _replace(trunk, name, layer.original)


@contextmanager
def unfused(trunk: nn.Module) -> Iterator[None]:
    """PEFT's layers for the length of a block, which is what PEFT's own functions look for."""
    was_fused = any(isinstance(layer, LowRankLinear) for layer in trunk.modules())
    unfuse_lora(trunk)
    try:
        yield
    finally:
        if was_fused:
            fuse_lora(trunk)


def _is_plain(layer: Any) -> bool:
    adapters = list(layer.active_adapters)
    if len(adapters) != 1 or len(layer.lora_A) != 1 or layer.lora_variant or layer.merged or layer.disable_adapters:
        return False
    dropout, base, b = layer.lora_dropout[adapters[0]], layer.base_layer, layer.lora_B[adapters[0]]
    still = isinstance(dropout, nn.Identity) or getattr(dropout, "p", 1.0) == 0.0
    return still and type(base) is nn.Linear and not base.weight.requires_grad and b.bias is None


def _replace(trunk: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(trunk.get_submodule(parent), last, module)


@torch.no_grad()
def round_frozen(trunk: nn.Module, dtype: torch.dtype) -> None:
    """Keep the frozen weights of linear layers in the number format that autocast would cast them to every time.

    Answers stay the same, at half the memory; weights that learn stay in float32, and so do those whose norm DoRA
    measures: it takes them as they are, not as autocast casts them.
    """
    measured = [layer.base_layer for layer in trunk.modules() if len(getattr(layer, "lora_magnitude_vector", ()))]
    for layer in set(trunk.modules()).difference(measured):
        if type(layer) is nn.Linear and not any(part.requires_grad for part in layer.parameters()):
            layer.to(dtype)
