"""BitFit: the biases learn, and nothing else (Ben Zaken et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.bottleneck import fill
from adjudge.models.adapters.memory import remember


@dataclass(frozen=True)
class Biases:
    """The trained biases of a trunk, and the ``adapter_config.json`` that they are saved with."""

    values: dict[str, Any]

    def saved(self, trunk: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Config and tensors; PEFT has no such adapter, so the names are the model's own."""
        return self.values, {name: p.detach() for name, p in trunk.named_parameters() if p.requires_grad}


def train_biases(trunk: nn.Module, new: Sequence[str] = ()) -> list[str]:
    """Freeze a trunk but for its biases, in place.

    Args:
        trunk: a model without head.
        new: linear layers that get a bias of zeros where they have none; many decoders have none at all.

    Returns:
        Names of the biases that learn.

    Raises:
        ConfigError: there are none.
    """
    trunk.requires_grad_(False)
    added: list[str] = []
    for name in new:
        layer: Any = trunk.get_submodule(name)
        if layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
            added.append(name)
    trained = []
    for name, module in trunk.named_modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            bias.requires_grad_(True)
            trained.append(f"{name}.bias")
    if not trained:
        raise ConfigError("the model has no biases to train; set new_biases: all, or use lora")
    remember(trunk, Biases({"peft_type": "BITFIT", "new": added}))
    return trained


def load_biases(trunk: nn.Module, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Put saved biases on a trunk; returns how many tensors are missing and how many are left over."""
    train_biases(trunk, values["new"])
    return fill(trunk, tensors)
