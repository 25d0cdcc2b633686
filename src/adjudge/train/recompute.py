"""Gradient checkpointing: layers' activations are computed again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from adjudge.core.errors import ConfigError
from adjudge.core.types import Encoded
from adjudge.models.engine.network import Network


@contextmanager
def recomputed(network: Network, probe: Sequence[Encoded], *, enabled: bool) -> Iterator[None]:
    """Train with gradient checkpointing (Chen et al. 2016) inside the block, where it is `enabled`.

    Some layers drop cached keys and values when they are recomputed, which would silently switch off whatever stands
    there. So the probe's logits must be the same bits with and without.

    Args:
        network: changed in place, and back at the end.
        probe: a few rows to compare on.
        enabled: whether anything is done.

    Raises:
        ConfigError: the model cannot recompute its layers, or answers differently when it does.
    """
    trunk: Any = network.engine.trunk
    if not enabled:
        yield
        return
    if not getattr(trunk, "supports_gradient_checkpointing", False):
        raise ConfigError(
            f"training.gradient_checkpointing: {type(trunk).__name__} does not support it; set it to false, and "
            "raise training.accumulation to save memory"
        )
    network.train(True)
    expected = _seeded_logits(network, probe)
    _switch(trunk, on=True)
    try:
        if not torch.equal(_seeded_logits(network, probe), expected):
            raise ConfigError(
                f"training.gradient_checkpointing: {type(trunk).__name__} answers differently with it under this "
                "method; set it to false, and raise training.accumulation to save memory"
            )
        yield
    finally:
        _switch(trunk, on=False)


def _switch(trunk: Any, *, on: bool) -> None:
    """Transformers renamed the two methods within version 5."""
    new, old = ("activation_checkpointing", "gradient_checkpointing")
    prefix = new if hasattr(trunk, f"{new}_enable") else old
    if on:
        getattr(trunk, f"{prefix}_enable")(**{f"{prefix}_kwargs": {"use_reentrant": False}})
    else:
        getattr(trunk, f"{prefix}_disable")()


def _seeded_logits(network: Network, probe: Sequence[Encoded]) -> torch.Tensor:
    """Logits of the probe in training mode, the dropout masks the same each time."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        return network.logits(probe).detach()
