"""The contract that every way of adapting a model keeps: a config, and a `fit` that never sees test data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from adjudge.core.config import StrictModel
from adjudge.core.decision import Decision
from adjudge.core.errors import ConfigError
from adjudge.core.protocols import Classifier, Log, Progress, SilentProgress
from adjudge.core.task import Task
from adjudge.core.types import Split

if TYPE_CHECKING:  # the table of methods is looked at without a model library
    from adjudge.train.checkpoints import Checkpoints
    from adjudge.train.distillation import SoftTargets


class MethodConfig(StrictModel):
    """What every method's config has: `kind` (set by each subclass) names it in recipes."""

    kind: str = Field(description="the method's name")

    @property
    def one_label(self) -> str | None:
        """What of these options can give a text one label alone, or None where it may have several."""
        return None

    def refuse_multi_label(self, task: Task) -> None:
        """Refuse a task whose texts may have several labels where these options cannot give them.

        Raises:
            ConfigError: so it is; the message says what can.
        """
        if task.problem.multi and self.one_label:
            raise ConfigError(
                f"{self.kind}: {self.one_label} gives one label to each text, and the task {task.name!r} is "
                "multi_label; use majority, tfidf or embedding, or a method that trains a model (full, lora, …) with "
                "head: score"
            )


C = TypeVar("C", bound=MethodConfig)


def _silent(event: dict[str, Any]) -> None:
    del event


@dataclass(frozen=True)
class FurtherTask:
    """A task that a training learns beside its own, with the same trunk and a head and a prompt of its own.

    Attributes:
        task: as in `Setting`.
        labels: its closed set.
        train: its rows.
        validation: its validation rows.
    """

    task: Task
    labels: tuple[str, ...]
    train: Split
    validation: Split


@dataclass(frozen=True)
class Joint:
    """Several tasks learnt together.

    Attributes:
        tasks: those beside the fit's own.
        temperature: how their steps are mixed: shares go by rows to the power of its inverse.
    """

    tasks: tuple[FurtherTask, ...]
    temperature: float


@dataclass(frozen=True)
class Setting:
    """What surrounds a fit.

    Attributes:
        task: the task; its `labels` may be None, then `labels` below is what train holds.
        labels: the closed set, in the order of every array.
        seed: the run's seed, from which every stream is derived.
        cache: folder for what is worth keeping between runs (frozen states), or None.
        max_seconds: budget of training, or None.
        checkpoints: where a long training is kept while it runs, or None.
        soft: another model's answers for the rows of train, for methods that train a network, or None.
        start: folder of a saved classifier whose trained weights are the first ones here, or None.
        joint: what is learnt beside the task, for methods that train a network in steps, or None.
    """

    task: Task
    labels: tuple[str, ...]
    seed: int = 0
    cache: Path | None = None
    max_seconds: float | None = None
    checkpoints: Checkpoints | None = None
    start: Path | None = None
    soft: SoftTargets | None = None
    joint: Joint | None = None
    progress: Progress = field(default_factory=SilentProgress)
    log: Log = _silent

    @property
    def decision(self) -> Decision:
        """How the classifier to be fitted answers, by the task's problem; thresholds are chosen after the fit."""
        return Decision(self.task.problem)


@dataclass(frozen=True)
class Fitted:
    """What a fit returns.

    Attributes:
        classifier: the fitted, uncalibrated predictor.
        labels_used: gold labels that shaped the decision, by split (0 for a plain zero-shot).
        facts: JSON-ready facts for run.json: parameters, tokens, best epoch, resolved choices …
        validation_logits: ``[N, C]`` what the classifier answers for the whole of validation, bit for bit, where the
            fit had to predict it anyway; else None.
        further: what was fitted to the tasks of `Setting.joint`, in their order.
    """

    classifier: Classifier
    labels_used: dict[str, int]
    facts: dict[str, Any] = field(default_factory=dict)
    validation_logits: npt.NDArray[np.float32] | None = None
    further: tuple[Fitted, ...] = ()


Fit = Callable[[Split, Split, C, Setting], Fitted]


@dataclass(frozen=True)
class Method(Generic[C]):
    """One way to adapt a model.

    Attributes:
        name: as in recipes.
        config: the class of its options.
        fit: ``fit(train, validation, config, setting)``. There is no parameter for test data.
        deterministic: another seed gives the same answers.
    """

    name: str
    config: type[C]
    fit: Fit[C]
    deterministic: bool = False
