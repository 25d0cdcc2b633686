"""AdaLoRA's rank allocation: singular values that matter little are set to zero while training."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from adjudge.models.adapters.injected import ADAPTER

_BETA = 0.85  # of both moving averages, the paper's choice


@dataclass(frozen=True)
class RankBudget:
    """How many singular values are left at a step (Zhang et al. 2023, equation 12).

    Attributes:
        start: rank of each matrix at first.
        rank: mean rank of a matrix at the end.
        total: steps of the training.
        warmup: steps before the first value is taken.
        final: steps at the end in which none is.
        every: steps between two choices.
    """

    start: int
    rank: int
    total: int
    warmup: int
    final: int
    every: int

    @classmethod
    def of(cls, start: int, rank: int, total: int) -> RankBudget:
        """A tenth of the steps before the first choice, three tenths after the last, a hundred choices at most."""
        return cls(start, rank, total, total // 10, 3 * total // 10, max(1, total // 100))

    def at(self, step: int, matrices: int) -> int | None:
        """Singular values left over all matrices after a step, or None where nothing is chosen."""
        last = self.total - self.final
        if step <= self.warmup or step > last or (step < last and step % self.every):
            return None
        left = 1 - (step - self.warmup) / (last - self.warmup)
        return matrices * self.rank + int(matrices * (self.start - self.rank) * left**3)


@dataclass
class RankAllocation:
    """Takes singular values away by importance, and keeps the factors orthogonal.

    Importance is the smoothed sensitivity ``|w · dL/dw|`` times its smoothed uncertainty (equations 9 to 11), for a
    value the sum of its own and of the means over the vectors beside it (equation 8). After the last choice, what was
    taken stays zero.

    Attributes:
        trunk: with AdaLoRA's factors.
        budget: see `RankBudget`.
        orthogonality: weight of the penalty (equation 4).
        averages: smoothed sensitivity and uncertainty by parameter, ``<kind>.<name>``; and ``kept.<name>``, which
            values were left at the last choice.
    """

    trunk: nn.Module
    budget: RankBudget
    orthogonality: float
    averages: dict[str, torch.Tensor] = field(default_factory=dict)

    def loss(self) -> torch.Tensor:
        """The weighted mean over factors of ``||P' P - I||`` and ``||Q Q' - I||`` (Frobenius)."""
        terms = []
        for name, p in self._factors().items():
            if "lora_E" not in name:
                gram = p @ p.T if "lora_A" in name else p.T @ p
                terms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=p.device, dtype=p.dtype)))
        return self.orthogonality * torch.stack(terms).mean()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Update the importance; where it is due, choose anew; after the last choice, keep what was taken at zero."""
        factors = self._factors()
        if step <= self.budget.total - self.budget.final:
            for name, p in factors.items():
                self._note(name, (p * p.grad).abs() if p.grad is not None else torch.zeros_like(p))
        values = [name for name in factors if "lora_E" in name]
        left = self.budget.at(step, len(values))
        if left is not None:
            self._choose(values, left)
        if left is not None or step > self.budget.total - self.budget.final:
            self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Set the values to zero that the last choice took."""
        for name, factor in self._factors().items():
            if f"kept.{name}" in self.averages:
                factor.mul_(self.averages[f"kept.{name}"])

    def state(self) -> dict[str, torch.Tensor]:
        """The averages and the last choice."""
        return dict(self.averages)

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `state` gave."""
        device = next(self.trunk.parameters()).device
        self.averages = {name: tensor.to(device) for name, tensor in state.items()}

    def ranks(self) -> dict[str, int]:
        """How many singular values each adapted layer has left."""
        return {
            name.partition(".lora_E")[0]: int(p.count_nonzero())
            for name, p in self._factors().items()
            if "lora_E" in name
        }

    def _factors(self) -> dict[str, nn.Parameter]:
        return {
            name: p for name, p in self.trunk.named_parameters() if "lora_" in name and name.endswith(f".{ADAPTER}")
        }

    def _note(self, name: str, sensitivity: torch.Tensor) -> None:
        smooth = self.averages.get(f"sensitivity.{name}", torch.zeros_like(sensitivity))
        doubt = self.averages.get(f"uncertainty.{name}", torch.zeros_like(sensitivity))
        smooth = _BETA * smooth + (1 - _BETA) * sensitivity
        doubt = _BETA * doubt + (1 - _BETA) * (sensitivity - smooth).abs()
        self.averages |= {f"sensitivity.{name}": smooth, f"uncertainty.{name}": doubt}

    def _choose(self, values: list[str], left: int) -> None:
        importance = {name: self._importance(name) for name in values}
        every = torch.cat(list(importance.values()))
        taken = len(every) - left
        threshold = torch.kthvalue(every, taken).values if taken > 0 else every.min() - 1
        for name in values:
            self.averages[f"kept.{name}"] = (importance[name] > threshold).float()[:, None]

    def _importance(self, value: str) -> torch.Tensor:
        """Of each singular value of a matrix, ``[r]``."""
        own, right, left = (
            self.averages[f"sensitivity.{name}"] * self.averages[f"uncertainty.{name}"]
            for name in (value, value.replace("lora_E", "lora_A"), value.replace("lora_E", "lora_B"))
        )
        return own[:, 0] + right.mean(dim=1) + left.mean(dim=0)
