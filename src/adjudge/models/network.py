"""A trunk, the way it is run, and a head: texts' ids in, logits out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from adjudge.core.protocols import Progress, SilentProgress
from adjudge.core.types import Encoded
from adjudge.models.engine import Engine, States
from adjudge.models.heads import Head
from adjudge.models.precision import Resolved, compute

# Tokens of one forward pass in prediction. Enough to keep the matrix units busy, little enough for any cache.
PREDICTION_TOKENS = 2048


@dataclass
class Network:
    """What is trained and what predicts.

    Attributes:
        engine: the trunk and how it is run.
        head: reads logits off states.
        prefix_ids: the prompt's prefix.
        precision: what the trunk computes in.
    """

    engine: Engine
    head: Head
    prefix_ids: tuple[int, ...]
    precision: Resolved = "float32"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.engine.trunk.parameters()).device

    @property
    def modules(self) -> tuple[nn.Module, nn.Module]:
        """Trunk and head."""
        return self.engine.trunk, self.head

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off."""
        for module in self.modules:
            module.train(mode)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, the trunk's under ``trunk.`` and the head's under ``head.``."""
        return {
            f"{owner}.{name}": parameter
            for owner, module in zip(("trunk", "head"), self.modules, strict=True)
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def n_parameters(self) -> tuple[int, int]:
        """Trainable and total number of parameters."""
        every = [parameter for module in self.modules for parameter in module.parameters()]
        return sum(p.numel() for p in every if p.requires_grad), sum(p.numel() for p in every)

    def states(self, encoded: Sequence[Encoded]) -> States:
        """Hidden states of a batch, in the network's precision."""
        with compute(self.precision, self.device):
            return self.engine.states(encoded, self.prefix_ids, self.head.paths)

    def logits(self, encoded: Sequence[Encoded]) -> torch.Tensor:
        """Logits ``[B, C]``, float32; gradients flow."""
        return self.head(self.states(encoded))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def predict_logits(
        self, encoded: Sequence[Encoded], n_labels: int, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Logits ``[N, C]`` of any number of rows, in their order, without dropout."""
        self.train(False)
        out = np.empty((len(encoded), n_labels), dtype=np.float32)
        with (progress or SilentProgress()).task("predict", len(encoded)) as advance:
            for batch in budget_batches(encoded, PREDICTION_TOKENS):
                out[batch] = self.logits([encoded[i] for i in batch]).float().cpu().numpy()
                advance(len(batch))
        return out


def budget_batches(encoded: Sequence[Encoded], budget_tokens: int) -> Iterator[list[int]]:
    """Positions of rows, longest first, in batches of at most so many tokens (one row at least)."""
    lengths = [len(row.text_ids) + len(row.suffix_ids) for row in encoded]
    batch: list[int] = []
    tokens = 0
    for i in sorted(range(len(encoded)), key=lambda i: -lengths[i]):
        if batch and tokens + lengths[i] > budget_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i]
    if batch:
        yield batch
