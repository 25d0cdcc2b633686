"""Ten real steps on the real model, and what the whole run takes if it goes on like that."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from adjudge.core.protocols import Progress, replies_of
from adjudge.core.seeds import stream_generator
from adjudge.core.types import Split
from adjudge.experiment.inputs import Inputs
from adjudge.experiment.measure import PeakMemory
from adjudge.foresee.estimate import Estimate, Memory
from adjudge.methods import METHODS, Setting
from adjudge.recipe.recipe import PlannedRun

STEPS = 10
# Rows that methods without a training loop are fitted on, and rows that every method predicts.
_ROWS = 300


def probe_run(planned: PlannedRun, inputs: Inputs, estimate: Estimate, progress: Progress) -> Estimate:
    """Fit to so many rows that it takes ten steps, predict some, and scale what was measured up to the whole run.

    The steps are the first of a warm-up, which cost what any step costs. Memory is the process's peak.

    Args:
        planned: the run.
        inputs: its data.
        estimate: what was foreseen; its time and memory are replaced.
        progress: where bars are drawn.
    """
    training: Any = getattr(planned.options, "training", None)
    options: Any = planned.options
    rows = _ROWS
    if training is not None:
        rows = STEPS * training.batch_size
        options = options.model_copy(update={"training": training.model_copy(update={"epochs": 1.0})})
    train = _drawn(inputs.train, rows, inputs.labels)
    validation = _drawn(inputs.validation, _ROWS, inputs.labels)
    setting = Setting(inputs.recipe.task, inputs.labels, planned.seed, progress=progress)
    with PeakMemory() as memory:
        began = time.perf_counter()
        fitted = METHODS.load(planned.method).fit(train, validation, options, setting)
        fitting = time.perf_counter() - began
        began = time.perf_counter()
        fitted.classifier.predict_logits(validation.texts)
        replies_of(fitted.classifier, validation.texts)
        each = (time.perf_counter() - began) / max(1, len(validation))
    predicted = len(inputs.validation) + len(inputs.test or ())
    if training is None:
        seconds = fitting * len(inputs.train) / max(1, len(train)) + each * predicted
    else:
        between = training.steps_between_evaluations(len(inputs.train))
        checked = min(len(inputs.validation), training.validation_rows) * -(-estimate.steps // between)
        rate = fitted.facts["steady_rows_per_second"]
        seconds = len(inputs.train) * training.epochs / rate + each * (predicted + checked)
    return replace(
        estimate,
        total_parameters=fitted.facts.get("total_parameters", estimate.total_parameters),
        trainable_parameters=fitted.facts.get("trainable_parameters", estimate.trainable_parameters),
        memory=_measured(estimate.memory, memory),
        seconds=seconds,
        basis="probe",
    )


def _measured(foreseen: Memory | None, peak: PeakMemory) -> Memory:
    """The measured peak, with what is left over after the foreseen parts put down to activations."""
    if foreseen is None:
        return Memory(peak.start_bytes, 0.0, activations=float(peak.peak_bytes - peak.start_bytes))
    rest = replace(foreseen, activations=0.0, loading=0.0).total
    return replace(foreseen, activations=max(0.0, peak.peak_bytes - rest), loading=0.0)


def _drawn(split: Split, rows: int, labels: tuple[str, ...]) -> Split:
    """So many rows at random, the same each time; each label that the split holds once at least."""
    if rows >= len(split):
        return split
    order = stream_generator(0, "sample").permutation(len(split))
    gold = np.array([str(label) for label in split.labels])
    first = [int(order[at[0]]) for label in labels if len(at := np.flatnonzero(gold[order] == label))]
    rest = [int(i) for i in order if int(i) not in set(first)]
    return split.take(sorted([*first, *rest[: max(0, rows - len(first))]]))
