"""LoRA layers computed as one operation, and frozen weights kept in the precision that they are computed in.

PEFT's layer is a chain of small ones: two casts, three products, a scaling and an addition over the whole output, each
with a backward pass of its own. Here a layer is one product with the frozen weights and thin ones on either side that
add into its result, and layers that read the same states (queries, keys and values) are one operation together, which
casts the states once, has one thin product for all of them, and adds into one gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

# Layers of one parent that read the same states, by the names that Transformers gives them.
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("gate_proj", "up_proj"))


class LowRankLinear(nn.Module):
    """A linear layer with a low-rank update (Hu et al. 2021, equation 3): ``y = x W' + b + s (x A') B'``.

    Holds the modules of PEFT's layer under PEFT's names, so states are saved and loaded as before.

    Args:
        layer: PEFT's LoRA layer on a frozen `nn.Linear`, without dropout.
        adapter: the name of its one adapter.

    Attributes:
        family: the layers that read the same states, this one among them, or None.
    """

    def __init__(self, layer: Any, adapter: str) -> None:
        super().__init__()
        self.base_layer: nn.Linear = layer.base_layer
        self.lora_A: nn.ModuleDict = layer.lora_A
        self.lora_B: nn.ModuleDict = layer.lora_B
        self.scaling = float(layer.scaling[adapter])
        self.family: SharedInputLayers | None = None
        self._adapter = adapter
        self._layer = (layer,)  # in a tuple, so that it is no submodule a second time

    @property
    def original(self) -> nn.Module:
        """PEFT's layer, whose weights these are."""
        layer: nn.Module = self._layer[0]
        return layer

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight ``[out, in]``: some architectures ask a layer for its number format or device."""
        return self.base_layer.weight

    @property
    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A ``[rank, in]`` and B ``[out, rank]``."""
        a: torch.Tensor = self.lora_A.get_parameter(f"{self._adapter}.weight")
        return a, self.lora_B.get_parameter(f"{self._adapter}.weight")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., in]`` -> ``[..., out]``."""
        return outputs([self], x)[0] if self.family is None else self.family.output(self, x)


class SharedInputLayers:
    """Layers that are called one after the other with the same states; the first call computes for all.

    If one comes with other states while outputs wait, they are no family, and from then on each computes for itself.
    """

    def __init__(self, members: Sequence[LowRankLinear]) -> None:
        self._members = tuple(members)
        # By thread: the states, and what was computed of them and not yet asked for, by a member's place.
        self._rounds: dict[int, tuple[torch.Tensor, dict[int, torch.Tensor]]] = {}

    def output(self, member: LowRankLinear, x: torch.Tensor) -> torch.Tensor:
        """A member's output ``[..., out]`` of states ``[..., in]``."""
        place, thread = next(i for i, one in enumerate(self._members) if one is member), get_ident()
        states, waiting = self._rounds.pop(thread, (None, {}))
        if waiting and (states is not x or place not in waiting):
            for one in self._members:
                one.family = None
            return outputs([member], x)[0]
        waiting = waiting or dict(enumerate(outputs(self._members, x)))
        found = waiting.pop(place)
        if waiting:
            self._rounds[thread] = x, waiting
        return found

    def forget(self) -> None:
        """Drop what waits, with all that it was computed from; for a pass that failed between two members."""
        self._rounds.clear()


def forget_waiting(trunk: nn.Module) -> None:
    """`SharedInputLayers.forget` for all families of a trunk."""
    for layer in trunk.modules():
        if isinstance(layer, LowRankLinear) and layer.family is not None:
            layer.family.forget()


def outputs(layers: Sequence[LowRankLinear], x: torch.Tensor) -> list[torch.Tensor]:
    """What each layer makes of the same states ``[..., in]``."""
    weights = [layer.base_layer.weight for layer in layers]
    biases = [layer.base_layer.bias for layer in layers]
    a, b = zip(*(layer.factors for layer in layers), strict=True)
    scalings = tuple(layer.scaling for layer in layers)
    found = _LowRank.apply(x.reshape(-1, x.shape[-1]), scalings, *weights, *biases, *a, *b)  # type: ignore[no-untyped-call]
    # Out here: a Function's own view cannot be changed in place.
    return [out.view(*x.shape[:-1], out.shape[-1]) for out in found]


class _LowRank(torch.autograd.Function):
    """Arguments: the states, n scalings, then n each of weights, biases, A and B; n outputs."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scalings: tuple[float, ...], *parts: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        weights, biases, a, b = _quarters(parts)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            flat, down = x.to(dtype), torch.cat(a).to(dtype)
            ups = [(up * scaling).to(dtype) for up, scaling in zip(b, scalings, strict=True)]
            weights = [weight.to(dtype) for weight in weights]
            inner = flat @ down.T
            thin = torch.split(inner, [len(one) for one in a], dim=1)
            found = tuple(
                linear(flat, weight, None if bias is None else bias.to(dtype)).addmm_(part, up.T)
                for weight, bias, part, up in zip(weights, biases, thin, ups, strict=True)
            )
        ctx.save_for_backward(flat, down, inner, *weights, *ups)
        ctx.scalings, ctx.ranks = scalings, [len(one) for one in a]
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, down, inner, *rest = ctx.saved_tensors
        n = len(ctx.scalings)
        weights, ups = rest[:n], rest[n:]
        with torch.autocast(flat.device.type, enabled=False):
            d_inner = torch.cat([gradient @ up for gradient, up in zip(gradients, ups, strict=True)], dim=1)
            dx = None
            if ctx.needs_input_grad[0]:
                dx = gradients[0] @ weights[0]
                for gradient, weight in zip(gradients[1:], weights[1:], strict=True):
                    dx.addmm_(gradient, weight)
                dx.addmm_(d_inner, down)
            da = torch.split(d_inner.T @ flat, ctx.ranks)
            thin = torch.split(inner, ctx.ranks, dim=1)
            db = [(g.T @ part).mul_(s) for g, part, s in zip(gradients, thin, ctx.scalings, strict=True)]
        return dx, None, *[None] * (2 * n), *da, *db


def _quarters(parts: Sequence[Any]) -> list[list[Any]]:
    n = len(parts) // 4
    return [list(parts[i * n : (i + 1) * n]) for i in range(4)]


def fuse_lora(trunk: nn.Module) -> int:
    """Put `LowRankLinear` in the place of PEFT's plain LoRA layers; returns how many.

    Layers with dropout, DoRA, several adapters, merged or trained base weights stay as they are.
    """
    from peft.tuners.lora.layer import Linear

    plain = {name: layer for name, layer in trunk.named_modules() if type(layer) is Linear and _is_plain(layer)}
    for name, layer in plain.items():
        _replace(trunk, name, LowRankLinear(layer, layer.active_adapters[0]))
    for parent in trunk.modules():
        for names in _SIBLINGS:
            members = [child for name, child in parent.named_children() if name in names]
            fused = [child for child in members if isinstance(child, LowRankLinear)]
            for width in {child.base_layer.in_features for child in fused}:
                readers = [child for child in fused if child.base_layer.in_features == width]
                family = SharedInputLayers(readers) if len(readers) > 1 else None
                for child in readers:
                    child.family = family
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
