"""What a trunk remembers of the adapter that was put on it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn


class Adapter(Protocol):
    """An adapter on a trunk."""

    @property
    def values(self) -> dict[str, Any]:
        """What it was made with."""

    def saved(self, trunk: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Its ``adapter_config.json``, and its tensors by name."""


def remember(trunk: Any, adapter: Adapter) -> None:
    """Note on a trunk how it was adapted."""
    trunk.adjudge_adapter = adapter


def remembered(trunk: Any) -> Adapter:
    """What `remember` noted."""
    adapter: Adapter = trunk.adjudge_adapter
    return adapter
