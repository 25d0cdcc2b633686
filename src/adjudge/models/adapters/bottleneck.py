"""Bottleneck adapters: a small network with a residual behind the halves of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from adjudge.models.adapters.memory import remember

Nonlinearity = Literal["relu", "gelu", "silu"]
_FUNCTIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Bottleneck(nn.Module):
    """A module and, behind it, ``h + up(f(down(h)))`` (Houlsby et al. 2019, section 2.1).

    The projection up starts at zero, so a fresh adapter changes nothing.

    Args:
        base_layer: the module whose output is adapted.
        hidden_size: H, of that output.
        width: of the bottleneck.
        nonlinearity: f.
    """

    def __init__(self, base_layer: nn.Module, hidden_size: int, width: int, nonlinearity: Nonlinearity) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.down = nn.Linear(hidden_size, width)
        self.up = nn.Linear(width, hidden_size)
        self.nonlinearity = _FUNCTIONS[nonlinearity]()
        nn.init.normal_(self.down.weight, std=1e-2)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    @property
    def weight(self) -> torch.Tensor:
        """The module's own weight: some architectures ask a layer for its number format or device."""
        return self.base_layer.get_parameter("weight")

    def forward(self, *inputs: Any, **options: Any) -> torch.Tensor:
        """The module's output ``[..., H]``, adapted."""
        hidden: torch.Tensor = self.base_layer(*inputs, **options)
        change: torch.Tensor = self.up(self.nonlinearity(self.down(hidden)))
        return hidden + change


@dataclass(frozen=True)
class Bottlenecks:
    """The bottlenecks of a trunk, and the ``adapter_config.json`` that they are saved with."""

    values: dict[str, Any]

    def saved(self, trunk: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Config and tensors; PEFT has no such adapter, so the names are our own."""
        return self.values, {name: p.detach() for name, p in trunk.named_parameters() if p.requires_grad}


def add_bottlenecks(
    trunk: nn.Module, targets: Sequence[str], *, width: int, nonlinearity: Nonlinearity = "gelu"
) -> None:
    """Freeze a trunk and put a bottleneck behind each of the named modules, in place.

    Uses torch's global generator for the initialisation: call it inside a seeded `fork_rng`.

    Args:
        trunk: a model without head.
        targets: modules that give states ``[..., H]``: the projections that end the halves of a layer.
        width: of the bottlenecks.
        nonlinearity: between the projections.
    """
    config: Any = trunk.config
    trunk.requires_grad_(False)
    for name in targets:
        parent, _, last = name.rpartition(".")
        base = trunk.get_submodule(name)
        setattr(trunk.get_submodule(parent), last, Bottleneck(base, config.hidden_size, width, nonlinearity))
    values = {"peft_type": "BOTTLENECK", "targets": list(targets), "width": width, "nonlinearity": nonlinearity}
    remember(trunk, Bottlenecks(values))


def load_bottlenecks(trunk: nn.Module, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Put saved bottlenecks on a trunk; returns how many tensors are missing and how many are left over."""
    add_bottlenecks(trunk, values["targets"], width=values["width"], nonlinearity=values["nonlinearity"])
    return fill(trunk, tensors)


def fill(trunk: nn.Module, tensors: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Copy tensors into the trainable parameters of the same names; counts what is missing and what is left over."""
    own = {name: p for name, p in trunk.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name in own.keys() & tensors.keys():
            own[name].copy_(tensors[name])
    return len(own.keys() - tensors.keys()), len(tensors.keys() - own.keys())
