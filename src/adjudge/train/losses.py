"""Losses of rows, so made that a batch may be run in parts and its gradient stays the same.

A batch's loss is the sum of its rows' losses over the sum of their weights. The second sum is known before anything is
run, so every part divides by that of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot

from adjudge.evaluate.metrics import accuracy, macro_f1
from adjudge.train.training_config import LossConfig


@dataclass(frozen=True)
class Score:
    """How validation rows were answered: mean loss, accuracy and macro-F1."""

    loss: float
    accuracy: float
    macro_f1: float


class Loss(Protocol):
    """What the loop needs of a loss: `RowLoss`, or `adjudge.train.set_loss.SetLoss` for several labels."""

    @property
    def config(self) -> LossConfig:
        """See `LossConfig`."""

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        """What each row counts in the batch's mean, ``[B]``."""

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Weighted losses ``[B]``."""

    def of_two(self, first: torch.Tensor, second: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses ``[B]`` of two passes with different dropout, their divergence included."""

    def score(self, logits: npt.NDArray[np.float32], targets: npt.NDArray[Any]) -> Score:
        """How validation rows with logits ``[N, C]`` are answered."""


@dataclass(frozen=True)
class RowLoss:
    """The loss of every row of a single-label task.

    Attributes:
        config: see `LossConfig`.
        class_weights: ``[C]`` float32, or None for 1.
    """

    config: LossConfig
    class_weights: torch.Tensor | None = None

    def weights(self, targets: torch.Tensor) -> torch.Tensor:
        """What each row counts in the batch's mean, ``[B]``."""
        if self.class_weights is None:
            return torch.ones(len(targets), device=targets.device)
        return self.class_weights.to(targets.device)[targets]

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Weighted losses ``[B]`` of logits ``[B, C]`` for label positions ``[B]``."""
        classes = None if self.class_weights is None else self.class_weights.to(logits.device)
        smoothing = self.config.label_smoothing
        if self.config.kind == "focal":
            return focal(logits, targets, gamma=self.config.gamma, class_weights=classes, label_smoothing=smoothing)
        return cross_entropy(logits, targets, weight=classes, label_smoothing=smoothing, reduction="none")

    def of_two(self, first: torch.Tensor, second: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """R-Drop (Liang et al. 2021, equation 4) of two passes with different dropout, ``[B]``.

        Departs from the equation in taking the mean of the two losses, not their sum, so that the size of a step
        does not depend on `r_drop`. A row's divergence has the row's weight.
        """
        mean = (self(first, targets) + self(second, targets)) / 2
        return mean + self.config.r_drop * self.weights(targets) * divergence(first, second)

    def score(self, logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> Score:
        """How validation rows are answered: unweighted cross-entropy, and the most probable label."""
        predicted = logits.argmax(axis=1).astype(np.int64)
        return Score(
            loss=float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))),
            accuracy=accuracy(targets, predicted),
            macro_f1=macro_f1(targets, predicted, logits.shape[1]),
        )


def focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    gamma: float,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """``-w (1 - p)^gamma log p`` of each row, ``[B]`` (Lin et al. 2017, equation 5, for more than two labels).

    With smoothing, the sum over all labels, each with its share of the target; `gamma` 0 is cross entropy.
    """
    log_probs = log_softmax(logits, dim=-1)
    n_labels = logits.shape[1]
    shares = one_hot(targets, n_labels).to(logits) * (1 - label_smoothing) + label_smoothing / n_labels
    if class_weights is not None:
        shares = shares * class_weights
    # The difference may round to just below 0, where a power has no gradient.
    hardness = (1 - log_probs.exp()).clamp_min(torch.finfo(logits.dtype).tiny) ** gamma
    return -(shares * hardness * log_probs).sum(dim=-1)


def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean of the two Kullback-Leibler divergences between the rows' distributions, ``[B]``, in nats."""
    p, q = log_softmax(first, dim=-1), log_softmax(second, dim=-1)
    both = kl_div(p, q, reduction="none", log_target=True) + kl_div(q, p, reduction="none", log_target=True)
    return both.sum(dim=-1) / 2


def class_weights(targets: npt.NDArray[np.int64], n_labels: int) -> torch.Tensor:
    """``[C]`` inverse label shares, scaled so that a row's mean weight is 1; labels without rows get 0."""
    counts = np.bincount(targets, minlength=n_labels).astype(np.float64)
    present = counts > 0
    weights = np.where(present, len(targets) / (present.sum() * np.maximum(counts, 1.0)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))
