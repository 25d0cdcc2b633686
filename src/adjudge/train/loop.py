"""The one training loop: steps, validation, the best checkpoint, early stopping, going on after an interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from adjudge.core.errors import DataError, WorkError
from adjudge.core.protocols import Advance, Log, Progress
from adjudge.core.seeds import stream_generator
from adjudge.evaluate.metrics import accuracy, macro_f1
from adjudge.models.engine.heads import WritingHead
from adjudge.models.engine.network import Network
from adjudge.models.trunk.lookup import clear_gradients
from adjudge.models.trunk.seeding import seeded_torch
from adjudge.train.averaging import WeightAverage, set_weights
from adjudge.train.batches import EncodedRows, parts
from adjudge.train.checkpoints import Checkpoints
from adjudge.train.losses import Loss, RowLoss, Score, class_weights
from adjudge.train.multitask import TrainingTask, mixed_batches
from adjudge.train.optimizers import build_optimizer, gradient_scaler, trained_parameters
from adjudge.train.recompute import recomputed
from adjudge.train.schedule import schedule_factor
from adjudge.train.selection import Selection
from adjudge.train.set_loss import SetLoss, positive_weights
from adjudge.train.state import TrainingState
from adjudge.train.trained import Trained
from adjudge.train.training_config import TrainingConfig

_LOG_EVERY_STEPS = 10
# Left out of the steady throughput: the first steps fill caches and choose kernels.
_WARM_STEPS = 3
# A loss scale below this means that gradients overflow whatever is done.
_LEAST_SCALE = 1.0
_PROBE_ROWS = 2


@dataclass(frozen=True)
class Trainer:
    """One training, put together.

    Attributes:
        network: trained in place; ends with the best validation weights. For several tasks, see `joined`.
        config: see `TrainingConfig`.
        seed: the run's; gives the ``order`` and ``dropout`` streams.
        max_seconds: budget of training steps, or None.
        progress: where bars are drawn.
        log: takes ``step``, ``evaluation`` and ``warning`` events.
        checkpoints: where the training is kept while it runs, and where it goes on from; or None.
    """

    network: Network
    config: TrainingConfig
    seed: int
    progress: Progress
    log: Log
    max_seconds: float | None = None
    checkpoints: Checkpoints | None = None

    def fit(self, train: EncodedRows, validation: EncodedRows, n_labels: int) -> tuple[Trained, Selection]:
        """Train on one task; see `fit_tasks`."""
        return self.fit_tasks([TrainingTask(self.network, train, validation, n_labels)])

    def fit_tasks(self, tasks: Sequence[TrainingTask], temperature: float = 1.0) -> tuple[Trained, Selection]:
        """Train, from the last checkpoint on where there is one.

        Args:
            tasks: one task or several; their networks are those that `network` was joined of.
            temperature: how several tasks' steps are mixed; see `mixing_shares`.

        Returns:
            What was done, and the selection: the weights that the network ends with, and of a single task their
            logits of the checked validation rows.

        Raises:
            ConfigError: an option that the network or the machine cannot do.
            DataError: train or validation has no rows.
            WorkError: the loss or a gradient is not finite.
        """
        for task in tasks:
            for name, rows in (("train", task.train), ("validation", task.validation)):
                if not len(rows):
                    what = f"{task.name}: {name}" if len(tasks) > 1 else name
                    raise DataError(
                        f"{what} has no rows; training needs some, and some to choose the best checkpoint on"
                    )
        optimizer = build_optimizer(self.network, self.config)
        state = TrainingState(
            self.network,
            optimizer,
            gradient_scaler(self.network),
            Selection(),
            Trained(),
            WeightAverage(self.config.optimizer.average_decay) if self.config.optimizer.average == "ema" else None,
        )
        checked = [replace(one, validation=checked_rows(one.validation, self.config, self.seed)) for one in tasks]
        steps = _TrainingSteps(self, state, checked, temperature)
        probe = tasks[0].train.encoded[:_PROBE_ROWS]
        with (
            recomputed(tasks[0].network, probe, enabled=self.config.gradient_checkpointing),
            seeded_torch(self.seed, "dropout"),
        ):
            self._resume(state)
            steps.run()
        set_weights(self.network, state.selection.weights)
        self.network.train(False)
        state.done.best_step, state.done.best_macro_f1 = state.selection.step, state.selection.macro_f1
        return state.done, state.selection

    def loss(self, train: EncodedRows, n_labels: int) -> Loss:
        """The loss of one task's rows, weighted where the classes are to be balanced."""
        balanced = self.config.class_weight == "balanced"
        if train.targets.ndim == 2:
            return SetLoss(self.config.loss, positive_weights(train.targets) if balanced else None)
        targets = train.targets.astype(np.int64, copy=False)
        return RowLoss(self.config.loss, class_weights(targets, n_labels) if balanced else None)

    def _resume(self, state: TrainingState) -> None:
        snapshot = self.checkpoints.load() if self.checkpoints else None
        if snapshot is None:
            return
        state.restore(snapshot)
        state.done.resumed_after.append(snapshot.step)
        self.log({"event": "note", "message": f"training goes on after step {snapshot.step}"})


class _TrainingSteps:
    """The steps of one training.

    Args:
        trainer: what was asked for.
        state: what changes.
        tasks: what is learnt; of validation, the rows that are checked.
        temperature: how several are mixed.
    """

    def __init__(
        self, trainer: Trainer, state: TrainingState, tasks: Sequence[TrainingTask], temperature: float
    ) -> None:
        self.trainer, self.config, self.network = trainer, trainer.config, trainer.network
        self.state, self.done, self.selection = state, state.done, state.selection
        self.tasks, self.temperature = tasks, temperature
        sizes = [len(task.train) for task in tasks]
        self.total = self.config.total_steps(*sizes)
        self.steps_per_epoch = self.config.steps_per_epoch(*sizes)
        self.between = self.config.steps_between_evaluations(*sizes)
        self.losses = [trainer.loss(task.train, task.n_labels) for task in tasks]
        # A resumed optimiser has the rates of its last step, so the peaks come from the one that was just built.
        self.peaks = [group["lr"] for group in state.optimizer.param_groups]

    def run(self) -> None:
        """Take the steps that are left."""
        if self.done.stopped:
            return
        done, first = self.done, self.done.steps
        order = mixed_batches(self.tasks, self.config, self.total, self.trainer.seed, self.temperature, first)
        with self.trainer.progress.task("train", self.total) as advance:
            advance(first)
            for turn, batch in order:
                self._step(turn, batch, advance)
                if done.stopped:
                    break
                if self.trainer.checkpoints and done.steps < self.total and self.trainer.checkpoints.due:
                    self.trainer.checkpoints.save(self.state.capture())
        done.stopped = done.stopped or "epochs"
        if self.trainer.checkpoints and self.trainer.checkpoints.written:
            self.trainer.checkpoints.save(self.state.capture())

    def _step(self, turn: int, batch: Sequence[int], advance: Advance) -> None:
        """One step with all that follows it: counts, log, validation, and the decision to stop."""
        done, began, began_cpu = self.done, time.perf_counter(), time.process_time()
        rate = self._set_rates(done.steps)
        value = self._optimise(turn, batch)
        done.training_seconds += time.perf_counter() - began
        done.training_cpu_seconds += time.process_time() - began_cpu
        done.steps, done.rows_seen = done.steps + 1, done.rows_seen + len(batch)
        if done.steps == _WARM_STEPS < self.total:
            done.warm_rows, done.warm_seconds = done.rows_seen, done.training_seconds
        last = done.steps == self.total
        if done.steps % _LOG_EVERY_STEPS == 0 or last:
            named = {"task": self.tasks[turn].name} if len(self.tasks) > 1 else {}
            self._log("step", loss=value, learning_rate=rate, **named)
        limit = self.trainer.max_seconds
        spent = limit is not None and done.training_seconds >= limit
        if done.steps % self.between == 0 or last or spent:
            self._evaluate()
        patience = self.config.evaluation.patience
        if not done.stopped and spent:
            done.stopped = "max_seconds"
        elif not done.stopped and patience is not None and self.selection.since >= patience:
            done.stopped = "patience"
        # Last, so that whoever interrupts here finds a whole step.
        advance(1)

    def _set_rates(self, step: int) -> float:
        """Set the learning rates of a step; the first group's is returned."""
        config = self.config
        warmup, floor = config.warmup_steps(self.total), config.optimizer.min_rate_share
        factor = schedule_factor(config.schedule, step, self.total, warmup, floor)
        for group, peak in zip(self.state.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        return float(self.peaks[0] * factor)

    def _optimise(self, turn: int, batch: Sequence[int]) -> float:
        """Gradients of a task's batch, part by part, and one step along them; the batch's loss."""
        optimizer, scaler = self.state.optimizer, self.state.scaler
        task, loss = self.tasks[turn], self.losses[turn]
        for one in self.tasks:  # all of them: the trunk is theirs, and what is kept of its states grows stale
            one.network.train(True)
        clear_gradients(self.network.modules)
        weight = float(loss.weights(_targets(task, batch)).sum())
        value = 0.0
        for part in parts(batch, self.config.accumulation):
            share = self._part_loss(task, part, loss) / weight
            auxiliary = self.network.auxiliary_loss()
            if auxiliary is not None:
                share = share + auxiliary * (len(part) / len(batch))
            scaler.scale(share).backward()  # type: ignore[no-untyped-call]
            value += float(share.detach())
        scaler.unscale_(optimizer)
        norm = float(nn.utils.clip_grad_norm_(trained_parameters(optimizer), self.config.optimizer.max_grad_norm))
        self._refuse_non_finite(value, norm)
        scaler.step(optimizer)
        scaler.update()
        if not math.isfinite(norm):  # the scaler left this step out; nothing may keep what is no number
            optimizer.zero_grad()
            return value
        self.network.after_step(self.done.steps + 1)
        if self.state.average is not None:
            self.state.average.update(self.network)
        return value

    def _part_loss(self, task: TrainingTask, part: Sequence[int], loss: Loss) -> torch.Tensor:
        """Sum of the rows' weighted losses; where R-Drop wants it, every row is run twice, with different dropout."""
        network, rows, targets = task.network, [task.train.encoded[i] for i in part], _targets(task, part)
        if isinstance(network.head, WritingHead):
            losses, tokens = network.answer_losses(rows, targets, loss.config.label_smoothing)
            self.done.tokens += tokens
            return (loss.weights(targets) * losses).sum()
        times = 2 if loss.config.r_drop else 1
        passes = network.logits(rows * times).chunk(times)
        self.done.tokens += network.engine.n_tokens(rows * times, network.prefix_ids)
        losses = loss(passes[0], targets) if len(passes) == 1 else loss.of_two(passes[0], passes[1], targets)
        if task.train.soft is not None:
            losses = task.train.soft.mixed(part, passes[0], losses, loss.weights(targets))
        return losses.sum()

    def _refuse_non_finite(self, value: float, norm: float) -> None:
        """A float16 gradient that overflows costs one step and halves the scale; anything else is fatal."""
        scaler = self.state.scaler
        overflow = scaler.is_enabled() and scaler.get_scale() >= _LEAST_SCALE
        if not (math.isfinite(value) and (math.isfinite(norm) or overflow)):
            raise WorkError(
                f"training stopped: the loss is {value} and the gradient norm {norm}, not finite numbers; "
                "lower learning_rate, or set precision: float32"
            )

    def _evaluate(self) -> None:
        """Check every task on its validation rows; what counts is the mean over the tasks."""
        average = self.state.average
        with average.applied(self.network) if average else nullcontext():
            validations = [self._validate(task, loss) for task, loss in zip(self.tasks, self.losses, strict=True)]
            scores = [asdict(score) for _, score in validations]
            means = {name: sum(score[name] for score in scores) / len(scores) for name in scores[0]}
            alone = len(validations) == 1
            named = zip(self.tasks, scores, strict=True)
            self._log("evaluation", **means, **({} if alone else {"tasks": {one.name: score for one, score in named}}))
            target = self.config.evaluation.target_accuracy
            reached = target is not None and means["accuracy"] >= target
            self.selection.offer(
                self.network,
                validations[0][0] if alone else np.zeros((0, 0), dtype=np.float32),
                step=self.done.steps,
                macro_f1=means["macro_f1"],
                loss=means["loss"],
                keep=reached,
            )
        if reached:
            self.done.stopped, self.done.target_seconds = "target_accuracy", self.done.training_seconds

    def _validate(self, task: TrainingTask, loss: Loss) -> tuple[npt.NDArray[np.float32], Score]:
        """A task's validation logits, and how right its answers are."""
        rows = task.validation
        logits = task.network.predict_logits(rows.encoded, task.n_labels, self.trainer.progress)
        if not np.isfinite(logits).all():
            raise WorkError(
                f"training stopped: validation logits after step {self.done.steps} are not finite numbers; "
                "lower learning_rate, or set precision: float32"
            )
        score = loss.score(logits, rows.targets)
        if task.decide is not None:
            gold, answers = rows.targets.astype(np.int64, copy=False), task.decide(rows.encoded)
            f1 = macro_f1(gold, answers, task.n_labels)
            score = replace(score, accuracy=accuracy(gold, answers), macro_f1=f1)
        return logits, score

    def _log(self, event: str, **values: Any) -> None:
        done = self.done
        epoch = done.steps / self.steps_per_epoch
        where = {"event": event, "step": done.steps, "epoch": epoch, "rows_seen": done.rows_seen}
        self.trainer.log({**where, **values})


def _targets(task: TrainingTask, rows: Sequence[int]) -> torch.Tensor:
    return torch.from_numpy(task.train.targets[list(rows)]).to(task.network.device)


def checked_rows(validation: EncodedRows, config: TrainingConfig, seed: int) -> EncodedRows:
    """At most `validation_rows` rows of validation, drawn once by the ``sample`` stream, in their order."""
    if len(validation) <= config.validation_rows:
        return validation
    at = np.sort(stream_generator(seed, "sample").permutation(len(validation))[: config.validation_rows])
    return EncodedRows([validation.encoded[i] for i in at], validation.targets[at])
