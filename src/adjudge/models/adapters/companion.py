"""What trains along with a network's weights: something that adds to the loss, or acts after a step."""

from __future__ import annotations

from typing import Protocol

import torch


class Companion(Protocol):
    """Goes along with a training; a loaded network has none."""

    def loss(self) -> torch.Tensor | None:
        """What is added to the loss of the rows that were just run, or None."""

    def after_step(self, step: int) -> None:
        """Called after the optimiser's `step`-th step (from 1 on), gradients still in place."""

    def constrain(self) -> None:
        """Called when other weights (a moving average) were put in: make them keep to what the trained ones do."""

    def state(self) -> dict[str, torch.Tensor]:
        """What must be kept to go on after an interruption."""

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` gave."""
