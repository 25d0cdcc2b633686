"""Optimisers over a network's trainable weights, and the scaling that float16 gradients need."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.core.optional import require
from adjudge.models.engine.network import Network
from adjudge.train.training_config import TrainingConfig

# bitsandbytes' classes: states in 8 bits by blocks (Dettmers et al. 2022), in memory that may be paged out
# (Dettmers et al. 2023), or both.
_BITSANDBYTES = {"adamw_8bit": "AdamW8bit", "adamw_paged": "PagedAdamW32bit", "adamw_paged_8bit": "PagedAdamW8bit"}


def build_optimizer(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser that the config names; vectors (biases, norms, IA3's) are not decayed.

    ``adam`` adds the decay to the gradient (Kingma & Ba 2015), ``adamw`` to the step (Loshchilov & Hutter 2019).

    Raises:
        ConfigError: an 8-bit or paged optimiser without a GPU.
        MissingExtraError: it needs bitsandbytes, which is not installed.
    """
    options = config.optimizer
    described = _groups(network, config)
    shared: dict[str, Any] = {"lr": config.learning_rate, "betas": options.betas, "eps": options.epsilon}
    if options.kind in _BITSANDBYTES:
        if network.device.type != "cuda":
            raise ConfigError(
                f"training.optimizer.kind: {options.kind!r} runs on NVIDIA GPUs and there is none; allowed here: "
                "adam, adamw"
            )
        library = require("bitsandbytes", "gpu", f"train with the optimiser {options.kind!r}")
        built: torch.optim.Optimizer = getattr(library.optim, _BITSANDBYTES[options.kind])(described, **shared)
        return built
    fused = network.device.type in ("cpu", "cuda")
    if options.kind == "adam":
        return torch.optim.Adam(described, fused=fused, **shared)
    return torch.optim.AdamW(described, fused=fused, **shared)


def _groups(network: Network, config: TrainingConfig) -> list[dict[str, Any]]:
    """The trainable weights by rate and decay."""
    head_rate = config.optimizer.head_learning_rate or config.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.trainable().items():
        rate = head_rate if name.startswith("head.") else config.learning_rate
        # IA3's vectors are factors, neutral at 1, and PEFT gives them a second dimension.
        decay = config.weight_decay if parameter.ndim > 1 and ".ia3_l." not in name else 0.0
        groups.setdefault((rate * network.rate_multiplier(name), decay), []).append(parameter)
    return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]


def gradient_scaler(network: Network) -> torch.amp.GradScaler:
    """Loss scaling (Micikevicius et al. 2018): on for float16, whose small gradients would vanish; else it is off."""
    return torch.amp.GradScaler(network.device.type, enabled=network.precision == "float16")


def trained_parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters of an optimiser."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
