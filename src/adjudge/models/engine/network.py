"""A trunk, the way it is run, and a head: texts' ids in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from adjudge.core.errors import WorkError
from adjudge.core.protocols import BatchTolerance, Progress, SilentProgress
from adjudge.core.types import Encoded
from adjudge.models.adapters.companion import Companion
from adjudge.models.adapters.lowrank import forget_waiting
from adjudge.models.engine.engine import Engine, States
from adjudge.models.engine.heads import Head, WritingHead
from adjudge.models.engine.prefix_cache import PrefixCache, PrefixStates
from adjudge.models.engine.prefix_tree import PrefixTree
from adjudge.models.engine.token_budget import next_batch, out_of_memory, token_budget
from adjudge.models.trunk.precision import BATCH_TOLERANCES, Resolved, compute


@dataclass
class Network:
    """What is trained and what predicts.

    Attributes:
        engine: the trunk and how it is run.
        head: reads logits off states.
        prefix_ids: the prompt's prefix.
        precision: what the trunk computes in.
        prefix_cache: the prefix's key-value states, for prediction.
        rate_multipliers: what learning rates are multiplied by, by a part of the parameters' names.
        companions: what trains along: a rank allocation, a mixture's router loss.
        steady: whether rows are rounded the same way in any batch; see `adjudge.models.engine.steadiness`.
    """

    engine: Engine
    head: Head
    prefix_ids: tuple[int, ...]
    precision: Resolved = "float32"
    prefix_cache: PrefixCache = field(default_factory=PrefixCache, repr=False)
    rate_multipliers: dict[str, float] = field(default_factory=dict)
    companions: list[Companion] = field(default_factory=list, repr=False)
    steady: bool = True

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.engine.trunk.parameters()).device

    @property
    def modules(self) -> tuple[nn.Module, nn.Module]:
        """Trunk and head."""
        return self.engine.trunk, self.head

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off; where weights may change, the prefix's states are forgotten."""
        if mode:
            self.prefix_cache.clear()
        # A trunk that learns nothing gives the same states in training as in prediction.
        self.engine.trunk.train(mode and any(p.requires_grad for p in self.engine.trunk.parameters()))
        self.head.train(mode)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, the trunk's under ``trunk.`` and the head's under ``head.``."""
        return {
            f"{owner}.{name}": parameter
            for owner, module in zip(("trunk", "head"), self.modules, strict=True)
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @property
    def batch_tokens(self) -> int:
        """Tokens of one forward pass in prediction."""
        return token_budget(self.engine.trunk, self.device, len(self.prefix_ids))

    @property
    def batch_tolerance(self) -> BatchTolerance:
        """By how much a probability may depend on the rows beside it, in this precision and on this device."""
        tolerance = BATCH_TOLERANCES[self.precision]
        return tolerance if self.steady else replace(tolerance, stated=tolerance.most)

    def describe_cache(self) -> dict[str, Any]:
        """Whether prediction keeps the prefix's states, why not, and the memory that they take now."""
        used = self.engine.caches and bool(self.prefix_ids)
        return {
            "used": used,
            "reason": self.engine.cache_reason,
            "tokens": len(self.prefix_ids) if used else 0,
            "bytes": self.prefix_cache.n_bytes,
        }

    def n_parameters(self) -> tuple[int, int]:
        """Trainable and total number of parameters."""
        every = [parameter for module in self.modules for parameter in module.parameters()]
        return sum(p.numel() for p in every if p.requires_grad), sum(p.numel() for p in every)

    def rate_multiplier(self, name: str) -> float:
        """What a trainable parameter's learning rate is multiplied by."""
        return next((factor for part, factor in self.rate_multipliers.items() if part in name), 1.0)

    def auxiliary_loss(self) -> torch.Tensor | None:
        """What an adapter or a router adds to the loss of the rows that were just run, or None."""
        losses = [loss for companion in self.companions if (loss := companion.loss()) is not None]
        return torch.stack(losses).sum() if losses else None

    def after_step(self, step: int) -> None:
        """Called when the optimiser has taken its `step`-th step (from 1 on), gradients still in place."""
        for companion in self.companions:
            companion.after_step(step)

    def constrain(self) -> None:
        """Called when other weights, of the same training, were put in the place of the trained ones."""
        for companion in self.companions:
            companion.constrain()

    def adapter_state(self) -> dict[str, torch.Tensor]:
        """What a training must keep of its adapters beyond their weights, to go on after an interruption."""
        return {
            f"{i}.{name}": tensor
            for i, companion in enumerate(self.companions)
            for name, tensor in companion.state().items()
        }

    def load_adapter_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over what `adapter_state` gave."""
        for i, companion in enumerate(self.companions):
            own = {name.partition(".")[2]: part for name, part in state.items() if name.startswith(f"{i}.")}
            companion.load_state(own)

    def states(self, encoded: Sequence[Encoded]) -> States:
        """Hidden states of a batch, in the network's precision."""
        with compute(self.precision, self.device):
            return self.engine.states(encoded, self.prefix_ids, self.head.paths)

    def tree_states(self, tree: PrefixTree) -> States:
        """As `states`, of rows that share more than the prompt's prefix: what they share is run once."""
        with compute(self.precision, self.device):
            return self.engine.tree_states(tree, self.prefix_ids, self.head.paths)

    def answer_losses(
        self, encoded: Sequence[Encoded], targets: torch.Tensor, label_smoothing: float = 0.0
    ) -> tuple[torch.Tensor, int]:
        """Losses ``[B]`` of writing the right labels, gradients flow, and the tokens that were run; see `WritingHead`.

        Args:
            encoded: B rows.
            targets: ``[B]`` label positions.
            label_smoothing: share of a token's probability that is spread over the vocabulary.
        """
        if not isinstance(self.head, WritingHead):
            raise TypeError(f"a {type(self.head).__name__} learns from scores, not from words")
        rows = self.head.prompted(encoded, targets)
        with compute(self.precision, self.device):
            states = self.engine.states(rows, self.prefix_ids)
        return self.head.losses(states, targets, label_smoothing), self.engine.n_tokens(rows, self.prefix_ids)

    def logits(self, encoded: Sequence[Encoded]) -> torch.Tensor:
        """Logits ``[B, C]``, float32; gradients flow."""
        return self.head(self.states(encoded))  # type: ignore[no-any-return]

    def predict_logits(
        self, encoded: Sequence[Encoded], n_labels: int, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Logits ``[N, C]`` of any number of rows, in their order, without dropout."""
        return self.read(encoded, self.head, n_labels, progress)

    @torch.inference_mode()
    def read(
        self,
        encoded: Sequence[Encoded],
        reader: Callable[[States], torch.Tensor],
        width: int,
        progress: Progress | None = None,
        what: str = "predict",
    ) -> npt.NDArray[np.float32]:
        """What a reader makes of any number of rows' states, ``[N, width]`` in their order, without dropout.

        Rows run longest first, behind the prefix's cached states, in batches of `token_budget` tokens. Where memory
        does not hold a batch, it and those after it are halved. Only for the network's own head are its trie's nodes
        run.

        Raises:
            WorkError: memory does not hold a single row.
        """
        self.train(False)
        out = np.empty((len(encoded), width), dtype=np.float32)
        paths = self.head.paths if reader is self.head else ()
        lengths = [self._run_tokens(row, len(paths)) for row in encoded]
        order = sorted(range(len(encoded)), key=lambda i: -lengths[i])
        budget, done = self.batch_tokens, 0
        with (progress or SilentProgress()).task(what, len(encoded)) as advance:
            while done < len(order):
                batch = next_batch(lengths, order, done, budget)
                found = self._read([encoded[i] for i in batch], reader, paths)
                if found is None:
                    budget = self._half(batch, encoded, lengths)
                    continue
                out[batch] = found.float().cpu().numpy()
                done += len(batch)
                advance(len(batch))
        return out

    def _read(
        self, rows: Sequence[Encoded], reader: Callable[[States], torch.Tensor], paths: Sequence[tuple[int, ...]]
    ) -> torch.Tensor | None:
        """A batch read, or None where memory does not hold it."""
        try:
            with compute(self.precision, self.device):
                kept = self.kept_prefix()
                states = self.engine.states(rows, self.prefix_ids, paths, kept, predicting=True)
            return reader(states)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not out_of_memory(error):
                raise
        forget_waiting(self.engine.trunk)
        return None  # out here, where the failed batch's tensors are no longer held by the error

    def _half(self, batch: Sequence[int], encoded: Sequence[Encoded], lengths: Sequence[int]) -> int:
        """The budget after a batch that did not fit."""
        if len(batch) > 1:
            return sum(lengths[i] for i in batch) // 2
        row = encoded[batch[0]]
        raise WorkError(
            f"memory is used up by a single row: number {batch[0] + 1} of those given, "
            f"{len(self.prefix_ids) + len(row.text_ids) + len(row.suffix_ids):,} tokens with its prompt; "
            "lower max_tokens, or use a machine with more memory"
        )

    def _run_tokens(self, row: Encoded, nodes: int) -> int:
        """Tokens that one more row, with so many trie nodes behind it, adds to a batch."""
        own = len(row.text_ids) + len(row.suffix_ids)
        if self.engine.causal and self.engine.path == "packed":
            return own + nodes
        return (len(self.prefix_ids) + own) * (1 + nodes)

    def kept_prefix(self) -> PrefixStates | None:
        """The prefix's states, for passes without gradients; None where there are none, or they cannot be kept."""
        if not (self.prefix_ids and self.engine.caches):
            return None
        return self.prefix_cache.get(self.engine, self.prefix_ids, self.precision)
