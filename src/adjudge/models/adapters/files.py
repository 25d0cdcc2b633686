"""Adapters as files: ``adapter_config.json`` and ``adapter_model.safetensors``, PEFT's own where it has the kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.biases import load_biases
from adjudge.models.adapters.bottleneck import load_bottlenecks
from adjudge.models.adapters.injected import load_injected
from adjudge.models.adapters.lowrank import unfused
from adjudge.models.adapters.memory import remembered
from adjudge.models.adapters.soft import load_soft

# What PEFT's own files put before each name: the adapter's and the task's wrapper around the model.
_PREFIX = "base_model.model."

_LOADERS: dict[str, Callable[[nn.Module, dict[str, Any], dict[str, torch.Tensor]], tuple[int, int]]] = {
    "LORA": load_injected,
    "IA3": load_injected,
    "ADALORA": load_injected,
    "PROMPT_TUNING": load_soft,
    "P_TUNING": load_soft,
    "PREFIX_TUNING": load_soft,
    "BOTTLENECK": load_bottlenecks,
    "BITFIT": load_biases,
}


def save_adapter(trunk: nn.Module, folder: Path) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors``.

    The folder is made. ``PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)`` loads all kinds that
    PEFT has: LoRA with its variants, IA3, AdaLoRA, and prompt, P- and prefix tuning of causal models.
    """
    from safetensors.torch import save_file

    with unfused(trunk):
        values, tensors = remembered(trunk).saved(trunk)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    before = "" if "prompt_embeddings" in tensors else _PREFIX
    state = {before + name: tensor.cpu().contiguous() for name, tensor in sorted(tensors.items())}
    save_file(state, folder / "adapter_model.safetensors")


def load_adapter(trunk: nn.Module, folder: Path) -> None:
    """Put a saved adapter on a trunk.

    Raises:
        ConfigError: it is of an unknown kind, or tensors are missing or left over: it belongs to another model.
    """
    from safetensors.torch import load_file

    values = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    load = _LOADERS.get(values["peft_type"])
    if load is None:
        raise ConfigError(
            f"{folder}: adapters of type {values['peft_type']!r} are unknown; known: {', '.join(_LOADERS)}"
        )
    saved = load_file(folder / "adapter_model.safetensors")
    missing, left = load(trunk, values, {name.removeprefix(_PREFIX): tensor for name, tensor in saved.items()})
    if missing or left:
        raise ConfigError(f"{folder}: the adapter does not fit the model: {missing} tensors missing, {left} left over")
