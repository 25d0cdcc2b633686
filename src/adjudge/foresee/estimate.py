"""What a run will take, said before anything starts: weights that learn, memory, steps, tokens and time.

Nothing is loaded: the model's shape comes from its configuration (or the table of published shapes), the memory of a
step from executing it without data (`adjudge.models.engine.footprint`), the time from the measured matrix peak. A
probe, ten real steps on the real model, replaces the last two by measurements (`adjudge.foresee.probe`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import psutil

from adjudge.core.errors import AdjudgeError
from adjudge.core.seeds import stream_generator
from adjudge.experiment.inputs import Inputs
from adjudge.foresee.dry_model import DryModel, dry_model
from adjudge.foresee.lengths import Lengths, measure_lengths
from adjudge.models.engine.footprint import DryBatch, Footprint, footprint
from adjudge.models.engine.throughput import matrix_peak
from adjudge.models.trunk.precision import PRODUCTS_BYTES, default_device, resolve_precision
from adjudge.recipe.recipe import PlannedRun
from adjudge.train.training_config import TrainingConfig

# Share of the matrix peak that training reaches; measured on SmolLM2 and MiniLM on two cores, about a third.
PEAK_SHARE = 0.35
PREDICTION_TOKENS = 2048
# Bytes of optimiser state for each trained weight: two means in float32, or in 8 bits with their scales.
# Paged state is counted whole: it leaves the GPU only where it must.
_STATE_BYTES = {"adamw_8bit": 2.06, "adamw_paged_8bit": 2.06}
_GPU_CONTEXT_BYTES = 600 * 2**20


@dataclass(frozen=True)
class Memory:
    """Bytes at the worst moment of a run, by what holds them.

    Attributes:
        process: the libraries themselves (CPU), or the context of the GPU.
        weights: of the model as it is held, a language-model head of its own included.
        gradients: of the trained weights.
        optimizer: its state.
        best: copies of the trained weights: the best so far, and its successor while it is made.
        activations: what a step needs beyond the gradients.
        logits: of one batch; all that is ever kept of the vocabulary's side.
        products: compiled matrix products (bfloat16 on a CPU).
        loading: the weights in float32 while they are loaded, before anything else is there (CPU).
    """

    process: float
    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    best: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    products: float = 0.0
    loading: float = 0.0

    @property
    def total(self) -> float:
        """The most at one time."""
        training: float = sum(value for name, value in asdict(self).items() if name != "loading")
        return max(training, self.process + self.loading)


@dataclass(frozen=True)
class Estimate:
    """What one run will take.

    Attributes:
        name: the run's.
        total_parameters: of trunk and head; None for methods without a network.
        trainable_parameters: those that learn.
        steps: optimiser steps, if nothing ends training early.
        tokens: of the whole training.
        memory: at the worst moment, or None where it is not known.
        available_bytes: memory that is there now.
        seconds: training with its validations, and prediction.
        basis: ``rough`` (from the matrix peak), ``probe`` (measured), or ``unknown``.
        notes: what is assumed.
    """

    name: str
    method: str
    model: str | None
    total_parameters: int | None = None
    trainable_parameters: int | None = None
    steps: int = 0
    tokens: int = 0
    memory: Memory | None = None
    available_bytes: int = 0
    seconds: float | None = None
    basis: str = "unknown"
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def fits(self) -> bool | None:
        """Whether the memory will do; None where it is not known."""
        return None if self.memory is None else self.memory.total <= self.available_bytes

    def renamed(self, name: str) -> Estimate:
        """The same for another run, which differs by its seed alone."""
        return replace(self, name=name)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        memory = None if self.memory is None else {**asdict(self.memory), "total": self.memory.total}
        return {**asdict(self), "notes": list(self.notes), "memory": memory, "fits": self.fits}


@dataclass(frozen=True)
class _Workload:
    """What is run how often: rows as lengths, and the training that they go through."""

    train: Lengths
    validation: Lengths
    test_rows: int
    training: TrainingConfig | None

    @property
    def steps(self) -> int:
        return 0 if self.training is None else self.training.total_steps(len(self.train.own))

    def tokens(self) -> int:
        """Tokens of the training: each row's own, and the shared prefix once for each part of a batch."""
        if self.training is None:
            return 0
        own = float(self.train.own.sum()) * self.training.epochs
        return round(own + self.steps * self.training.accumulation * self.train.prefix)

    def predicted_tokens(self) -> int:
        """Tokens of validations while training, and of the predictions at the end."""
        mean = float(self.validation.own.mean()) if len(self.validation.own) else 0.0
        rows = float(len(self.validation.own) + self.test_rows)
        if self.training is not None:
            checked = min(len(self.validation.own), self.training.validation_rows)
            times = max(1, math.ceil(self.steps / self.training.steps_between_evaluations(len(self.train.own))))
            rows += checked * times
        return round(rows * mean * (1 + self.validation.prefix / PREDICTION_TOKENS))

    def largest_batch(self, training: TrainingConfig, seed: int) -> list[int]:
        """Lengths of the part of a batch with the most tokens in the first epoch."""
        own = self.train.own
        rows = min(len(own), math.ceil(training.batch_size / training.accumulation))
        if training.curriculum == "length":
            return [int(n) for n in np.sort(own)[-rows:]]
        order = stream_generator(seed, "order").permutation(len(own))
        whole = own[order[: len(own) // rows * rows]].reshape(-1, rows)
        return [int(n) for n in whole[whole.sum(axis=1).argmax()]]


def estimate_run(planned: PlannedRun, inputs: Inputs) -> Estimate:
    """What a run will take, without loading its model.

    Args:
        planned: the run.
        inputs: its data.

    Raises:
        ModelNotFoundError: the model is neither here, nor a published shape, nor to be had from the hub.
    """
    basic = Estimate(planned.name, planned.method, planned.model, available_bytes=available_bytes())
    model = getattr(planned.options, "model", None)
    if model is None:
        return replace(basic, notes=("a baseline: minutes, and memory for its features; --probe measures it",))
    options: Any = planned.options
    precision = resolve_precision(options.precision, default_device())
    dry = dry_model(options, len(inputs.labels), precision)
    training = getattr(options, "training", None)
    task, labels = inputs.recipe.task, inputs.labels
    encoded = [
        measure_lengths(split, options, task, labels, causal=dry.causal) for split in (inputs.train, inputs.validation)
    ]
    work = _Workload(encoded[0], encoded[1], len(inputs.test or ()), training)
    notes = [*dry.notes, *([encoded[0].note] if encoded[0].note else [])]
    memory: Memory | None = None
    try:
        memory = _memory(dry, work, precision, len(inputs.labels), planned.seed)
    except (RuntimeError, TypeError, ValueError, AttributeError, AdjudgeError) as error:
        notes.append(f"memory cannot be foreseen for this architecture ({type(error).__name__}); use --probe")
    forward, each = dry.operations()
    peak = matrix_peak(default_device().type, precision) * PEAK_SHARE
    return replace(
        basic,
        total_parameters=dry.total_parameters,
        trainable_parameters=dry.trainable_parameters,
        steps=work.steps,
        tokens=work.tokens(),
        memory=memory,
        seconds=(work.tokens() * each + work.predicted_tokens() * forward) / peak,
        basis="rough",
        notes=tuple(notes),
    )


def available_bytes() -> int:
    """Free memory of the GPU where there is one, else of the machine, what this process holds included."""
    device = default_device()
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def _memory(model: DryModel, work: _Workload, precision: str, n_labels: int, seed: int) -> Memory:
    on_gpu = default_device().type == "cuda"
    process = float(_GPU_CONTEXT_BYTES) if on_gpu else float(psutil.Process().memory_info().rss)
    weights = model.weight_bytes(on_gpu=on_gpu)
    training, lengths = work.training, work.train
    loading = 0.0 if on_gpu else 4.0 * (model.total_parameters + model.output_parameters)
    compiled = precision == "bfloat16" and not on_gpu
    held = Memory(process, weights, products=float(PRODUCTS_BYTES) if compiled else 0.0, loading=loading)
    if training is None:
        rows = _prediction_rows(work.validation)
        batch = DryBatch(rows, lengths.prefix, precision, heap=not on_gpu)
        taken = footprint(model.config, model.apply, batch)
        return replace(held, activations=taken.forward_bytes, logits=4.0 * len(rows) * n_labels)
    rows = work.largest_batch(training, seed)
    batch = DryBatch(rows, lengths.prefix, precision, training.gradient_checkpointing, heap=not on_gpu)
    step = footprint(model.config, model.apply, batch, whole=model.uneven)
    return _training_memory(replace(held, logits=4.0 * len(rows) * n_labels), step, model, training)


def _training_memory(held: Memory, step: Footprint, model: DryModel, training: TrainingConfig) -> Memory:
    learning = float(model.trainable_parameters)
    gradients = 4.0 * learning
    best = gradients * (2.0 if training.optimizer.average == "none" else 3.0)
    return replace(
        held,
        gradients=gradients,
        optimizer=learning * _STATE_BYTES.get(training.optimizer.kind, 8.0),
        best=best,
        # A second copy of the best weights is made between steps, when the activations are gone: a step has its room.
        activations=max(step.step_bytes - 2 * gradients, step.forward_bytes, 0.0),
    )


def _prediction_rows(lengths: Lengths) -> list[int]:
    longest = np.sort(lengths.own)[::-1]
    count = max(1, int((np.cumsum(longest) <= PREDICTION_TOKENS).sum()))
    return [int(n) for n in longest[:count]]
