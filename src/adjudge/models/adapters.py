"""Low-rank adapters, injected into a trunk by the PEFT library and saved in its format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from adjudge.core.errors import ConfigError

Role = Literal["attention", "mlp", "all"]
_ADAPTER = "default"
# What PEFT's own files put before each name: the adapter's and the task's wrapper around the model.
_PREFIX = "base_model.model."


def linear_layers(trunk: nn.Module, role: Role, last_layers: int | None = None) -> list[str]:
    """Names of a trunk's linear layers that play a role, by where they stand, not by what they are called.

    A linear layer inside a module whose class is an attention is ``attention``; any other linear layer inside a
    stack of layers is ``mlp``.

    Args:
        trunk: a model without head.
        role: which of its linear layers.
        last_layers: take only those of the last so many layers of the stack; below them nothing is trained, so
            the backward pass ends there.

    Raises:
        ConfigError: the trunk has none, or keeps weights of that role elsewhere (a mixture's experts are stacked in
            one tensor), which would silently stay as they are.
    """
    stacked = sum(p.numel() for name, p in trunk.named_parameters() if p.ndim > 2 and _in_stack(name))
    if stacked and role != "attention":
        share = stacked / sum(p.numel() for name, p in trunk.named_parameters() if _in_stack(name))
        raise ConfigError(
            f"targets {role!r} would leave out {share:.0%} of the layers' weights, which are no linear layers "
            "(the experts of a mixture, or convolutions); use targets: attention"
        )
    attention = tuple(
        f"{name}." for name, module in trunk.named_modules() if name and "Attention" in type(module).__name__
    )
    found = []
    for name, module in trunk.named_modules():
        if not isinstance(module, nn.Linear) or not _in_stack(name):
            continue
        inside = name.startswith(attention)
        if role == "all" or (role == "attention") == inside:
            found.append(name)
    if last_layers is not None:
        depth = 1 + max((_layer(name) for name in found), default=0)
        found = [name for name in found if _layer(name) >= depth - last_layers]
    if not found:
        raise ConfigError(f"the model has no linear layers for the role {role!r}; allowed: attention, mlp, all")
    return found


def _layer(name: str) -> int:
    """The position in the stack of layers that a module's name holds."""
    return next(int(part) for part in name.split(".") if part.isdigit())


def _in_stack(name: str) -> bool:
    """Whether a module or parameter is inside a numbered layer."""
    return any(part.isdigit() for part in name.split("."))


def add_lora(
    trunk: nn.Module, *, rank: int, alpha: float, dropout: float, targets: Sequence[str], rank_stabilised: bool = False
) -> None:
    """Freeze a trunk and put LoRA layers (Hu et al. 2021) on the named linear layers, in place.

    Uses torch's global generator for the initialisation: call it inside a seeded `fork_rng`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    trunk.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), use_rslora=rank_stabilised
    )
    inject_adapter_in_model(config, trunk, adapter_name=_ADAPTER)
    trunk.adjudge_adapter = config


def save_adapter(trunk: nn.Module, folder: Path) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT does.

    The folder is made. ``PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)`` loads it.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config: Any = trunk.adjudge_adapter
    values = {
        "peft_type": "LORA",
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "use_rslora": config.use_rslora,
        "target_modules": sorted(config.target_modules),
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    named = sorted(get_peft_model_state_dict(trunk, adapter_name=_ADAPTER).items())
    state = {_PREFIX + name: tensor.cpu().contiguous() for name, tensor in named}
    save_file(state, folder / "adapter_model.safetensors")


def load_adapter(trunk: nn.Module, folder: Path) -> None:
    """Put a saved adapter on a trunk.

    Raises:
        ConfigError: tensors are missing or left over: the adapter belongs to another model.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    values = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    add_lora(
        trunk,
        rank=values["r"],
        alpha=values["lora_alpha"],
        dropout=values["lora_dropout"],
        targets=values["target_modules"],
        rank_stabilised=values["use_rslora"],
    )
    saved = load_file(folder / "adapter_model.safetensors")
    state = {name.removeprefix(_PREFIX): tensor for name, tensor in saved.items()}
    outcome = set_peft_model_state_dict(trunk, state, adapter_name=_ADAPTER)
    missing = [name for name in outcome.missing_keys if "lora_" in name]
    if missing or outcome.unexpected_keys:
        raise ConfigError(
            f"{folder}: the adapter does not fit the model: {len(missing)} tensors missing, "
            f"{len(outcome.unexpected_keys)} left over"
        )
