"""Adapters that the PEFT library brings: LoRA and its variants, IA3 and AdaLoRA, injected into a trunk in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.memory import remember
from adjudge.models.adapters.target_layers import Targets, transposed

ADAPTER = "default"
# What an ``adapter_config.json`` names weights in.
_NAMES = frozenset({"target_modules", "target_parameters", "feedforward_modules"})

Variant = Literal["plain", "dora", "pissa"]


@dataclass
class Injected:
    """An adapter of PEFT's on a trunk.

    Attributes:
        values: its ``adapter_config.json``.
        start: PiSSA alone: each factor as it was at the start, by name.
    """

    values: dict[str, Any]
    start: dict[str, torch.Tensor] = field(default_factory=dict)

    def saved(self, trunk: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Config and tensors, as PEFT names them, for the untouched base model."""
        state = _state(trunk)
        return (self.values, state) if not self.start else _as_difference(self.values, state, self.start)


def add_lora(
    trunk: nn.Module,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] | Targets,
    rank_stabilised: bool = False,
    variant: Variant = "plain",
) -> None:
    """Freeze a trunk and put LoRA (Hu et al. 2021) on the targets, in place.

    ``dora`` learns each row's length apart from its direction (Liu et al. 2024). ``pissa`` starts from the largest
    singular directions of each weight and freezes the rest (Meng et al. 2024): the base weights in memory are then
    the rest alone; what is saved is the difference to the untouched base, a LoRA of twice the rank.

    Uses torch's global generator for the initialisation: call it inside a seeded `fork_rng`.

    Raises:
        ConfigError: dropout or a variant is wanted for weights that are no linear layers (a mixture's experts).
    """
    chosen = targets if isinstance(targets, Targets) else Targets(tuple(targets))
    if chosen.parameters and (dropout or variant != "plain"):
        raise ConfigError(
            f"dropout and the variants dora and pissa work on linear layers alone, not on {chosen.parameters[0]!r}; "
            "set dropout: 0 and variant: plain, or targets: attention"
        )
    values: dict[str, Any] = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "use_rslora": rank_stabilised,
        "use_dora": variant == "dora",
        "target_modules": sorted(chosen.layers),
        "target_parameters": sorted(chosen.parameters) or None,
        "fan_in_fan_out": transposed(trunk, chosen.layers),
        "bias": "none",
        "inference_mode": True,
    }
    inject(trunk, values, init_lora_weights="pissa" if variant == "pissa" else True)
    if variant == "pissa":
        remember(trunk, Injected(values, {name: part.clone() for name, part in _state(trunk).items()}))


def add_ia3(trunk: nn.Module, *, keys_values: Sequence[str], mlp: Sequence[str]) -> None:
    """Freeze a trunk and scale keys, values and the inner states of its MLPs by learned vectors (Liu et al. 2022).

    The vectors start at one, so a fresh adapter changes nothing.

    Args:
        trunk: changed in place.
        keys_values: linear layers whose output is scaled.
        mlp: linear layers whose input is scaled.
    """
    values = {
        "peft_type": "IA3",
        "target_modules": sorted([*keys_values, *mlp]),
        "feedforward_modules": sorted(mlp),
        "fan_in_fan_out": transposed(trunk, [*keys_values, *mlp]),
        "inference_mode": True,
    }
    with torch.random.fork_rng(devices=[]):  # PEFT draws numbers and then puts ones in their place
        inject(trunk, values)


def add_adalora(
    trunk: nn.Module, *, start_rank: int, rank: int, alpha: float, dropout: float, targets: Sequence[str]
) -> None:
    """Freeze a trunk and put the three factors of AdaLoRA (Zhang et al. 2023, equation 3) on the targets.

    `adjudge.models.adapters.allocation.RankAllocation` takes singular values away while training. Uses torch's global
    generator: call it inside a seeded `fork_rng`.
    """
    values = {
        "peft_type": "ADALORA",
        "init_r": start_rank,
        "target_r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        # PEFT wants a length of training; its own allocator is not used, so any will do.
        "total_step": 1,
        "target_modules": sorted(targets),
        "fan_in_fan_out": transposed(trunk, targets),
        "bias": "none",
        "inference_mode": True,
    }
    inject(trunk, values)


class _Bare(nn.Module):
    """A trunk without its configuration.

    By a model's type PEFT takes names of layers for those of older versions of the architecture: a layer
    ``gate_proj`` of today for what once was a part of a mixture's experts. Names here are those of the trunk as it is.
    """

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk
        self.is_loaded_in_4bit = getattr(trunk, "is_loaded_in_4bit", False)


def inject(trunk: Any, values: dict[str, Any], **options: Any) -> None:
    """Freeze a trunk and inject the adapter that an ``adapter_config.json`` describes."""
    from peft import AdaLoraConfig, IA3Config, LoraConfig, inject_adapter_in_model

    kinds: dict[str, Any] = {"LORA": LoraConfig, "IA3": IA3Config, "ADALORA": AdaLoraConfig}
    given = {name: value for name, value in values.items() if name not in ("peft_type", "inference_mode")}
    for name in _NAMES.intersection(given):
        given[name] = None if given[name] is None else [_inside(target) for target in given[name]]
    trunk.requires_grad_(False)
    bare: Any = _Bare(trunk)
    inject_adapter_in_model(kinds[values["peft_type"]](**given, **options), bare, adapter_name=ADAPTER)
    trunk.peft_config = bare.peft_config  # by which PEFT finds the adapter's tensors
    remember(trunk, Injected(values))


def _inside(name: str) -> str:
    """What a trunk's module or parameter is called in `_Bare`."""
    return f"trunk.{name}"


def load_injected(trunk: nn.Module, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Inject a saved adapter; returns how many tensors are missing and how many are left over."""
    from peft import set_peft_model_state_dict

    inject(trunk, values)
    bare: Any = _Bare(trunk)
    bare.peft_config = trunk.peft_config
    state = {_inside(name): tensor for name, tensor in tensors.items()}
    outcome = set_peft_model_state_dict(bare, state, adapter_name=ADAPTER)
    missing = [name for name in outcome.missing_keys if "lora_" in name or "ia3_" in name]
    return len(missing), len(outcome.unexpected_keys)


def _state(trunk: nn.Module) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    found: dict[str, torch.Tensor] = get_peft_model_state_dict(trunk, adapter_name=ADAPTER)
    return found


def _as_difference(
    values: dict[str, Any], state: dict[str, torch.Tensor], start: dict[str, torch.Tensor]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """``s (B A - B0 A0)`` as one LoRA of rank ``2 r``: ``[B, -B0] [A; A0]``, the scale s kept."""
    joined = {}
    for name, tensor in state.items():
        parts = (tensor, -start[name]) if ".lora_B." in name else (tensor, start[name])
        joined[name] = torch.cat(parts, dim=1 if ".lora_B." in name else 0)
    growth = math.sqrt(2) if values["use_rslora"] else 2
    return {**values, "r": 2 * values["r"], "lora_alpha": growth * values["lora_alpha"]}, joined
