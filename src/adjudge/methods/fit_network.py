"""What the methods that train a network share: encoding rows, training, describing the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.core.types import Split
from adjudge.methods.difficulty import difficulty
from adjudge.methods.method import Fitted, Setting
from adjudge.methods.targets import targets_of
from adjudge.methods.warm_start import start_from
from adjudge.methods.writing import attach_writer, decide_by_reply, refuse_other_losses, restore_label_head
from adjudge.models.assembly import describe
from adjudge.models.classifiers.neural import CHUNK_TEXTS, NeuralClassifier
from adjudge.models.engine.heads import WritingHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.throughput import matrix_peak, operations_per_token
from adjudge.models.trunk.lookup import keep_gradients
from adjudge.models.trunk.masks import mask_quickly
from adjudge.train.batches import EncodedRows
from adjudge.train.loop import Trainer
from adjudge.train.multitask import TrainingTask, joined, mixing_steps
from adjudge.train.trained import Trained
from adjudge.train.training_config import TrainingConfig


def encode_rows(split: Split, classifier: NeuralClassifier) -> EncodedRows:
    """A split's rows, ready for the loop."""
    targets = targets_of(split, classifier.labels, classifier.decision.problem)
    return EncodedRows(classifier.prompt.encode(split.texts, classifier.tokenizer), targets)


@dataclass(frozen=True)
class TrainingJob:
    """A classifier that is about to be trained, and what it is trained on."""

    classifier: NeuralClassifier
    train: Split
    validation: Split
    setting: Setting

    def task(self, config: TrainingConfig) -> TrainingTask:
        """Its rows, ready for the loop."""
        classifier, labels = self.classifier, self.setting.labels
        rows = encode_rows(self.train, classifier)
        hard = difficulty(config.curriculum, self.train, rows, len(labels))
        return TrainingTask(
            network=classifier.network,
            train=replace(rows, difficulty=hard, soft=self.setting.soft),
            validation=encode_rows(self.validation, classifier),
            n_labels=len(labels),
            name=self.setting.task.name,
            decide=decide_by_reply(classifier),
        )


def train_classifiers(jobs: Sequence[TrainingJob], config: TrainingConfig) -> Fitted:
    """Train the trainable weights of one classifier's network, or of several on one trunk, and describe what happened.

    Args:
        jobs: the fit's own first, then those of `Setting.joint`.
        config: see `TrainingConfig`.

    Returns:
        The first one fitted, with the others as `Fitted.further`.
    """
    first, setting = jobs[0].classifier, jobs[0].setting
    if setting.start is not None:
        start_from(first, setting.start)
    heads = [job.classifier.network.head for job in jobs]
    for job, head in zip(jobs, heads, strict=True):
        if isinstance(head, WritingHead):
            refuse_other_losses(config.loss, job.setting)
            attach_writer(job.classifier, job.setting)
    if not any(isinstance(head, WritingHead) and head.shares_table for head in heads):
        keep_gradients(first.network.engine.trunk)  # else the gradient of all words is added to the tokens'
    mask_quickly(first.network.engine.trunk)
    network = joined([job.classifier.network for job in jobs])
    trainer = Trainer(
        network,
        config,
        setting.seed,
        setting.progress,
        setting.log,
        max_seconds=setting.max_seconds,
        checkpoints=setting.checkpoints,
    )
    sizes = [job.classifier.network.n_parameters() for job in jobs]
    tasks = [job.task(config) for job in jobs]
    temperature = setting.joint.temperature if setting.joint else 1.0
    done, selection = trainer.fit_tasks(tasks, temperature)
    shared = done.facts() | {"matrix_peak_share": _peak_share(network, done)}
    if len(jobs) > 1:
        shared["joint"] = _mixture(jobs, config, temperature)
    fitted = [
        _fitted(job, shared | {"trainable_parameters": size[0], "total_parameters": size[1]}, selection.logits)
        for job, size in zip(jobs, sizes, strict=True)
    ]
    return replace(fitted[0], further=tuple(fitted[1:]))


def _mixture(jobs: Sequence[TrainingJob], config: TrainingConfig, temperature: float) -> dict[str, Any]:
    """Facts about tasks that were learnt together: the steps are those of a training that nothing ended early."""
    sizes = [len(job.train) for job in jobs]
    steps = mixing_steps(sizes, temperature, config.total_steps(*sizes))
    return {
        "temperature": temperature,
        "tasks": [
            {"name": job.setting.task.name, "train_rows": size, "steps": count}
            for job, size, count in zip(jobs, sizes, steps, strict=True)
        ],
    }


def _fitted(job: TrainingJob, facts: dict[str, Any], logits: npt.NDArray[np.float32]) -> Fitted:
    classifier, validation = job.classifier, job.validation
    facts = describe(classifier) | facts | restore_label_head(classifier)
    # In longer splits the classifier packs its batches within blocks of texts, and other batches round otherwise.
    whole = len(logits) == len(validation) <= CHUNK_TEXTS
    used = {"train": len(job.train), "validation": len(validation)}
    return Fitted(classifier, used, facts, logits + classifier.offset if whole else None)


def _peak_share(network: Network, done: Trained) -> float:
    """Share of the machine's matrix peak that training reached; see `operations_per_token` for what counts."""
    _, per_token = operations_per_token(network)
    peak = matrix_peak(network.device.type, network.precision)
    return done.tokens * per_token / max(done.training_seconds, 1e-9) / peak
