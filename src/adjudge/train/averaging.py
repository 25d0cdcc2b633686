"""A moving average of the weights while training: steadier than the last step's, and as cheap to keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from adjudge.models.engine.network import Network


@dataclass
class WeightAverage:
    """An exponential moving average of the trainable weights (Polyak & Juditsky 1992 in its decaying form).

    The decay grows as ``(1 + n) / (10 + n)`` with the number of updates n until it reaches `decay`, so that the
    untrained weights do not linger in short trainings.

    Attributes:
        decay: share of the average that an update keeps.
        weights: the average by the parameters' names, float32.
        updates: n.
    """

    decay: float
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    updates: int = 0

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Take the weights after a step in."""
        self.updates += 1
        kept = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in network.trainable().items():
            if name not in self.weights:
                self.weights[name] = parameter.detach().clone()
            else:
                self.weights[name].lerp_(parameter, 1 - kept)

    @contextmanager
    def applied(self, network: Network) -> Iterator[None]:
        """The network with the averaged weights for the length of a block; its own before the first update."""
        trained = copy_weights(network)
        set_weights(network, self.weights or trained)
        network.constrain()
        try:
            yield
        finally:
            set_weights(network, trained)


def copy_weights(network: Network) -> dict[str, torch.Tensor]:
    """The trainable weights by name, copied."""
    return {name: parameter.detach().clone() for name, parameter in network.trainable().items()}


@torch.no_grad()
def set_weights(network: Network, weights: dict[str, torch.Tensor]) -> None:
    """Put weights into a network's trainable parameters.

    Args:
        network: changed in place.
        weights: by name, one for each trainable parameter.
    """
    for name, parameter in network.trainable().items():
        parameter.copy_(weights[name])
