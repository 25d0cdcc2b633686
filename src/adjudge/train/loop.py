"""The one training loop: steps, validation, the best checkpoint, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from adjudge.core.errors import DataError, WorkError
from adjudge.core.protocols import Log, Progress
from adjudge.core.seeds import stream_generator
from adjudge.core.types import Encoded
from adjudge.evaluate.metrics import accuracy, macro_f1
from adjudge.models.network import Network
from adjudge.models.seeding import seeded_torch
from adjudge.train.config import TrainingConfig
from adjudge.train.schedule import schedule_factor

_LOG_EVERY_STEPS = 10
# Left out of the steady throughput: the first steps fill caches and choose kernels.
_WARM_STEPS = 3


@dataclass(frozen=True)
class Rows:
    """Encoded rows and the position of each one's label in the closed set."""

    encoded: Sequence[Encoded]
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.encoded)


@dataclass
class Trained:
    """What training did.

    Attributes:
        steps: optimiser steps taken.
        rows_seen: rows trained on, repeats counted.
        tokens: real tokens run forward and backward.
        best_step: the step whose weights were kept.
        best_macro_f1: its validation macro-F1.
        best_loss: its validation loss; of equal scores the lower loss is better.
        stopped: why it ended: ``epochs``, ``patience`` or ``max_seconds``.
        training_seconds: time in steps, validation not counted.
        training_cpu_seconds: processor time of this process in steps, over all its threads.
        warm_rows: rows of the first steps, which the steady throughput leaves out.
        warm_seconds: their time.
    """

    steps: int = 0
    rows_seen: int = 0
    tokens: int = 0
    best_step: int = 0
    best_macro_f1: float = -1.0
    best_loss: float = math.inf
    stopped: str = "epochs"
    training_seconds: float = 0.0
    training_cpu_seconds: float = 0.0
    warm_rows: int = 0
    warm_seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """JSON-ready facts for run.json."""
        seconds = max(self.training_seconds, 1e-9)
        steady_seconds = max(self.training_seconds - self.warm_seconds, 1e-9)
        return {
            "steps": self.steps,
            "rows_seen": self.rows_seen,
            "train_tokens": self.tokens,
            "best_step": self.best_step,
            "best_validation_macro_f1": self.best_macro_f1,
            "stopped": self.stopped,
            "training_step_seconds": self.training_seconds,
            "training_step_cpu_seconds": self.training_cpu_seconds,
            "train_rows_per_second": self.rows_seen / seconds,
            "steady_rows_per_second": (self.rows_seen - self.warm_rows) / steady_seconds,
            "train_tokens_per_second": self.tokens / seconds,
        }


@dataclass
class _State:
    """The best weights so far, and how long ago that was."""

    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    since_best: int = 0


@dataclass(frozen=True)
class Trainer:
    """One training, put together.

    Attributes:
        network: trained in place; ends with the best validation weights.
        config: see `TrainingConfig`.
        seed: the run's; gives the ``order`` and ``dropout`` streams.
        max_seconds: budget of training steps, or None.
        progress: where bars are drawn.
        log: takes ``step`` and ``evaluation`` events.
    """

    network: Network
    config: TrainingConfig
    seed: int
    progress: Progress
    log: Log
    max_seconds: float | None = None

    def fit(self, train: Rows, validation: Rows, n_labels: int) -> Trained:
        """Train.

        Raises:
            DataError: train or validation has no rows.
            WorkError: the loss or a gradient is not finite.
        """
        for name, rows in (("train", train), ("validation", validation)):
            if not len(rows):
                raise DataError(f"{name} has no rows; training needs some, and some to choose the best checkpoint on")
        config, done, state = self.config, Trained(), _State()
        steps_per_epoch = math.ceil(len(train) / config.batch_size)
        total = max(1, round(config.epochs * steps_per_epoch))
        every = max(1, round(steps_per_epoch / config.evaluations_per_epoch))
        weights = class_weights(train.targets, n_labels) if config.class_weight == "balanced" else None
        optimizer = build_optimizer(self.network, config)
        peaks = [group["lr"] for group in optimizer.param_groups]
        checked = self._validation_rows(validation)
        with seeded_torch(self.seed, "dropout"), self.progress.task("train", total) as advance:
            for step, batch in enumerate(batches(len(train), config.batch_size, total, self.seed)):
                began, began_cpu = time.perf_counter(), time.process_time()
                factor = schedule_factor(config.schedule, step, total, round(config.warmup * total))
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
                loss = self._step(optimizer, train, batch, weights)
                done.training_seconds += time.perf_counter() - began
                done.training_cpu_seconds += time.process_time() - began_cpu
                done.steps, done.rows_seen = step + 1, done.rows_seen + len(batch)
                done.tokens += self.network.engine.n_tokens([train.encoded[i] for i in batch], self.network.prefix_ids)
                if done.steps == _WARM_STEPS < total:
                    done.warm_rows, done.warm_seconds = done.rows_seen, done.training_seconds
                advance(1)
                if done.steps % _LOG_EVERY_STEPS == 0 or done.steps == total:
                    self._log_step(done, steps_per_epoch, loss, peaks[0] * factor)
                spent = self.max_seconds is not None and done.training_seconds >= self.max_seconds
                if done.steps % every == 0 or done.steps == total or spent:
                    self._evaluate(checked, n_labels, done, state, steps_per_epoch)
                if spent or (config.patience is not None and state.since_best >= config.patience):
                    done.stopped = "max_seconds" if spent else "patience"
                    break
        _restore(self.network, state.weights)
        self.network.train(False)
        return done

    def _step(
        self, optimizer: torch.optim.Optimizer, train: Rows, batch: Sequence[int], weights: torch.Tensor | None
    ) -> float:
        self.network.train(True)
        optimizer.zero_grad(set_to_none=True)
        logits = self.network.logits([train.encoded[i] for i in batch])
        targets = torch.from_numpy(train.targets[list(batch)]).to(logits.device)
        loss = cross_entropy(
            logits,
            targets,
            weight=None if weights is None else weights.to(logits.device),
            label_smoothing=self.config.label_smoothing,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise WorkError(
                f"training stopped: the loss is {value} and the gradient norm {float(norm)}, not finite numbers; "
                "lower learning_rate, or set precision: float32"
            )
        optimizer.step()
        return value

    def _validation_rows(self, validation: Rows) -> Rows:
        """At most `validation_rows` rows, drawn once by the ``sample`` stream."""
        if len(validation) <= self.config.validation_rows:
            return validation
        chosen = stream_generator(self.seed, "sample").permutation(len(validation))[: self.config.validation_rows]
        at = np.sort(chosen)
        return Rows([validation.encoded[i] for i in at], validation.targets[at])

    def _evaluate(self, rows: Rows, n_labels: int, done: Trained, state: _State, steps_per_epoch: int) -> None:
        logits = self.network.predict_logits(rows.encoded, n_labels, self.progress)
        predicted = logits.argmax(axis=1).astype(np.int64)
        score = macro_f1(rows.targets, predicted, n_labels)
        loss = float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(rows.targets)))
        self.log(
            {
                "event": "evaluation",
                "step": done.steps,
                "epoch": done.steps / steps_per_epoch,
                "rows_seen": done.rows_seen,
                "loss": loss,
                "accuracy": accuracy(rows.targets, predicted),
                "macro_f1": score,
            }
        )
        if (score, -loss) > (done.best_macro_f1, -done.best_loss):
            done.best_macro_f1, done.best_loss, done.best_step, state.since_best = score, loss, done.steps, 0
            state.weights = {name: p.detach().clone() for name, p in self.network.trainable().items()}
        else:
            state.since_best += 1

    def _log_step(self, done: Trained, steps_per_epoch: int, loss: float, rate: float) -> None:
        self.log(
            {
                "event": "step",
                "step": done.steps,
                "epoch": done.steps / steps_per_epoch,
                "rows_seen": done.rows_seen,
                "loss": loss,
                "learning_rate": rate,
            }
        )


def batches(n_rows: int, batch_size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Positions of each step's rows: every epoch in a new order, by the ``order`` stream of the seed."""
    generator = stream_generator(seed, "order")
    order: list[int] = []
    for _ in range(steps):
        if not order:
            order = generator.permutation(n_rows).tolist()
        batch, order = order[:batch_size], order[batch_size:]
        yield batch


def class_weights(targets: npt.NDArray[np.int64], n_labels: int) -> torch.Tensor:
    """``[C]`` inverse label shares, scaled so that a row's mean weight is 1; labels without rows get 0."""
    counts = np.bincount(targets, minlength=n_labels).astype(np.float64)
    present = counts > 0
    weights = np.where(present, len(targets) / (present.sum() * np.maximum(counts, 1.0)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))


def build_optimizer(network: Network, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over trunk and head; vectors (biases, norms) are not decayed."""
    head_rate = config.head_learning_rate or config.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.trainable().items():
        rate = head_rate if name.startswith("head.") else config.learning_rate
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    described = [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]
    return torch.optim.AdamW(described, fused=network.device.type in ("cpu", "cuda"))


def _restore(network: Network, weights: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in network.trainable().items():
            parameter.copy_(weights[name])
