"""Learning from another model's probabilities (Hinton, Vinyals and Dean 2015, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import kl_div, log_softmax, logsigmoid


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's answers for every training row.

    Attributes:
        logits: ``[N, C]`` the teacher's.
        temperature: both distributions are softened by it, above 0.
        gold_share: ``[N]`` how much of a row's loss its label has, 0 to 1; 0 for a row without one.
        several: whether a row may have several labels: then each logit is a decision of its own.
    """

    logits: npt.NDArray[np.float32]
    temperature: float
    gold_share: npt.NDArray[np.float32]
    several: bool = False

    def mixed(
        self, rows: Sequence[int], logits: torch.Tensor, hard: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Losses ``[B]``: ``g hard + (1 - g) w T^2 KL(softmax(teacher / T) || softmax(student / T))``.

        The divergence is multiplied by ``T^2`` because its gradients shrink with ``1 / T^2``. The paper's equation has
        cross entropy, which differs from the divergence by a constant. Of several labels it is that of each label's
        two outcomes, the mean over labels: but for a constant, binary cross-entropy with the teacher's probabilities.

        Args:
            rows: positions of the B rows.
            logits: ``[B, C]`` the student's.
            hard: ``[B]`` losses by the labels, weighted.
            weights: ``[B]`` what each row counts.
        """
        at = list(rows)
        teacher = torch.from_numpy(self.logits[at]).to(logits) / self.temperature
        soft = (_of_each if self.several else _of_one)(teacher, logits / self.temperature)
        gold = torch.from_numpy(self.gold_share[at]).to(logits)
        return gold * hard + (1 - gold) * weights * self.temperature**2 * soft


def _of_one(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Divergences ``[B]`` of softmax distributions over the labels, in nats, from logits ``[B, C]``."""
    known, guessed = log_softmax(teacher, dim=-1), log_softmax(student, dim=-1)
    return kl_div(guessed, known, reduction="none", log_target=True).sum(dim=-1)


def _of_each(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Divergences ``[B]`` of each label's two outcomes, their mean over labels, in nats, from logits ``[B, C]``."""
    outcomes = [
        kl_div(logsigmoid(side * student), logsigmoid(side * teacher), reduction="none", log_target=True)
        for side in (1, -1)
    ]
    return (outcomes[0] + outcomes[1]).mean(dim=-1)
