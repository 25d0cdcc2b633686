"""What the training loop can be told."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from adjudge.core.config import StrictModel
from adjudge.train.schedule import Schedule

Curriculum = Literal["none", "length", "loss"]
OptimizerKind = Literal["adam", "adamw", "adamw_8bit", "adamw_paged", "adamw_paged_8bit"]


def _share_or_steps(value: float) -> float:
    if value >= 1 and value != int(value):
        raise ValueError("below 1 it is a share of the steps, from 1 on a whole number of steps")
    return value


Warmup = Annotated[float, Field(ge=0), AfterValidator(_share_or_steps)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[
    tuple[Beta, Beta],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),  # YAML has lists alone
]


class LossConfig(StrictModel):
    """What is minimised, and under how much noise."""

    kind: Literal["cross_entropy", "focal"] = Field("cross_entropy", description="cross_entropy or focal")
    gamma: float = Field(2.0, ge=0, description="focal: how much less an easy row counts; 0 is cross entropy")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of probability spread over all labels")
    r_drop: float = Field(0.0, ge=0, description="weight of the divergence of two dropout passes (R-Drop)")
    dropout: float | None = Field(None, ge=0, lt=1, description="every rate of the trunk's own; default: the model's")
    attention_dropout: float | None = Field(
        None, ge=0, lt=1, description="of attention weights; default: `dropout`, else the model's"
    )


class OptimizerConfig(StrictModel):
    """How gradients become steps. The 8-bit and paged kinds need a GPU and the package bitsandbytes."""

    kind: OptimizerKind = Field("adamw", description="adam, adamw, adamw_8bit, adamw_paged or adamw_paged_8bit")
    head_learning_rate: float | None = Field(None, gt=0, description="peak rate of the head; default: the same")
    betas: Betas = Field((0.9, 0.999), description="decay of the means of gradients and of their squares")
    epsilon: float = Field(1e-8, gt=0, description="keeps the step finite where gradients vanish")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    min_rate_share: float = Field(0.0, ge=0, le=1, description="share of the peak rate at the schedule's end")
    average: Literal["none", "ema"] = Field("none", description="ema: a moving average of the weights is kept")
    average_decay: float = Field(0.999, gt=0, lt=1, description="of the moving average, for each step")


class EvaluationConfig(StrictModel):
    """When validation is looked at, beyond `evaluations_per_epoch`, and what ends training early."""

    every_steps: int | None = Field(None, ge=1, description="steps between validations, in place of the share")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a better one")
    target_accuracy: float | None = Field(None, gt=0, le=1, description="stop once validation accuracy is here")


class TrainingConfig(StrictModel):
    """Options of the training loop; a method's config holds them under its own defaults."""

    learning_rate: float = Field(gt=0, description="peak learning rate of the trunk's weights")
    epochs: float = Field(gt=0, description="passes over train; a fraction is allowed")
    batch_size: int = Field(32, ge=1, description="rows per step")
    accumulation: int = Field(
        1, ge=1, description="parts that a batch is run in; same gradient, but for a mixture's router loss"
    )
    gradient_checkpointing: bool = Field(False, description="keep less memory, run forward twice")
    schedule: Schedule = Field("linear", description="constant, linear or cosine")
    warmup: Warmup = Field(0.06, description="rising rate: a share of the steps (below 1) or a number of them")
    weight_decay: float = Field(0.01, ge=0, description="decay of weight matrices")
    class_weight: Literal["balanced"] | None = Field(None, description="weigh rows by the rarity of their label")
    curriculum: Curriculum = Field("none", description="first epoch from easy to hard: none, length or loss")
    evaluations_per_epoch: int = Field(2, ge=1, description="validations per epoch; the best one is kept")
    validation_rows: int = Field(2000, ge=1, description="rows used at most in each validation while training")
    loss: LossConfig = Field(default_factory=LossConfig, description="what is minimised")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="how gradients become steps")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="when to look and to stop")

    @model_validator(mode="after")
    def _accumulation_fits(self) -> TrainingConfig:
        if self.accumulation > self.batch_size:
            raise ValueError(f"`accumulation` must not be above `batch_size` ({self.batch_size})")
        return self

    def steps_per_epoch(self, *n_rows: int) -> int:
        """Optimiser steps in one pass over so many rows, of each task where there are several."""
        return sum(math.ceil(n / self.batch_size) for n in n_rows)

    def total_steps(self, *n_rows: int) -> int:
        """Optimiser steps of a training that nothing ends early."""
        return max(1, round(self.epochs * self.steps_per_epoch(*n_rows)))

    def warmup_steps(self, total: int) -> int:
        """Steps over which the rate rises."""
        return round(self.warmup * total) if self.warmup < 1 else min(int(self.warmup), total)

    def steps_between_evaluations(self, *n_rows: int) -> int:
        """Optimiser steps from one validation to the next."""
        share = max(1, round(self.steps_per_epoch(*n_rows) / self.evaluations_per_epoch))
        return self.evaluation.every_steps or share
