"""Which weights are kept: those of the best validation, with what they answered there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from adjudge.models.engine.network import Network
from adjudge.train.averaging import copy_weights


@dataclass
class Selection:
    """The best weights so far, and how long ago that was.

    Attributes:
        weights: by the parameters' names.
        logits: ``[N, C]`` of the checked validation rows with those weights.
        step: the step after which they were taken.
        macro_f1: their validation macro-F1; of equal scores the lower loss is better.
        loss: their validation loss.
        since: evaluations since.
    """

    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    logits: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    step: int = 0
    macro_f1: float = -1.0
    loss: float = math.inf
    since: int = 0

    def offer(
        self,
        network: Network,
        logits: npt.NDArray[np.float32],
        *,
        step: int,
        macro_f1: float,
        loss: float,
        keep: bool = False,
    ) -> None:
        """Take the network's weights if they are better than what is held, or in any case if told to `keep` them."""
        if not (keep or (macro_f1, -loss) > (self.macro_f1, -self.loss)):
            self.since += 1
            return
        self.weights, self.logits = copy_weights(network), logits
        self.step, self.macro_f1, self.loss, self.since = step, macro_f1, loss, 0
