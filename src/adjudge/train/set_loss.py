"""Losses of rows with any number of labels: binary cross-entropy of each label's own sigmoid, the mean over labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch.nn.functional import logsigmoid

from adjudge.evaluate.sets import set_macro_f1
from adjudge.evaluate.thresholds import best_thresholds
from adjudge.train.losses import Score
from adjudge.train.training_config import LossConfig


@dataclass(frozen=True)
class SetLoss:
    """The loss of every row of a multi-label task; stands where `adjudge.train.losses.RowLoss` does.

    Attributes:
        config: see `LossConfig`. ``focal`` weighs each decision by ``(1 - p)^gamma`` of the side that is right, as in
            Lin et al. (2017), equation 4; smoothing draws targets towards one half.
        positive_weights: ``[C]`` what a row with the label counts against one without, or None for 1.
    """

    config: LossConfig
    positive_weights: torch.Tensor | None = None

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        """What each row counts in the batch's mean, ``[B]``: 1, as labels are weighed within a row."""
        return torch.ones(len(targets), device=targets.device)

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses ``[B]`` of logits ``[B, C]`` for targets ``[B, C]`` of 0 and 1."""
        smoothing = self.config.label_smoothing
        held = targets.to(logits) * (1 - smoothing) + smoothing / 2
        weight = 1.0 if self.positive_weights is None else self.positive_weights.to(logits)
        log_yes, log_no = logsigmoid(logits), logsigmoid(-logits)
        if self.config.kind == "focal":
            gamma, tiny = self.config.gamma, torch.finfo(logits.dtype).tiny
            # 1 - p of the one side is p of the other; just above 0, where a power has a gradient.
            log_yes, log_no = (
                log_yes * log_no.exp().clamp_min(tiny) ** gamma,
                log_no * log_yes.exp().clamp_min(tiny) ** gamma,
            )
        return -(weight * held * log_yes + (1 - held) * log_no).mean(dim=-1)

    def of_two(self, first: torch.Tensor, second: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """R-Drop as in `RowLoss.of_two`, the divergence being that of each label's two outcomes, mean over labels."""
        mean = (self(first, targets) + self(second, targets)) / 2
        # KL(p, q) + KL(q, p) of two outcomes is (p - q)(logit p - logit q).
        both = (first.sigmoid() - second.sigmoid()) * (first - second)
        return mean + self.config.r_drop * both.mean(dim=-1) / 2

    def score(self, logits: npt.NDArray[np.float32], targets: npt.NDArray[np.bool_]) -> Score:
        """How validation rows are answered at the thresholds that suit them best; arrays ``[N, C]``."""
        probs = expit(logits.astype(np.float64))
        predicted = probs >= np.array(best_thresholds(probs, targets))
        margins = np.where(targets, logits, -logits).astype(np.float64)
        return Score(
            loss=float(np.logaddexp(0.0, -margins).mean()),
            accuracy=float((predicted == targets).all(axis=1).mean()),
            macro_f1=set_macro_f1(targets, predicted),
        )


def positive_weights(targets: npt.NDArray[Any]) -> torch.Tensor:
    """``[C]`` rows without a label for each row with it; 1 for a label that no row has, or every row."""
    held = targets.sum(axis=0).astype(np.float64)
    others = len(targets) - held
    weights = np.where((held > 0) & (others > 0), others / np.maximum(held, 1.0), 1.0)
    return torch.from_numpy(weights.astype(np.float32))
