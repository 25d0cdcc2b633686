"""What the training loop can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.config import StrictModel
from adjudge.train.schedule import Schedule


class TrainingConfig(StrictModel):
    """Options of the training loop; a method's config holds them under its own defaults."""

    learning_rate: float = Field(gt=0, description="peak learning rate of the trunk's weights")
    head_learning_rate: float | None = Field(None, gt=0, description="of the head; default: the same")
    epochs: float = Field(gt=0, description="passes over train; a fraction is allowed")
    batch_size: int = Field(32, ge=1, description="rows per step")
    schedule: Schedule = Field("linear", description="constant, linear or cosine")
    warmup: float = Field(0.06, ge=0, lt=1, description="share of the steps over which the rate rises")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decay of weight matrices")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of probability spread over all labels")
    class_weight: Literal["balanced"] | None = Field(None, description="weigh rows by the rarity of their label")
    evaluations_per_epoch: int = Field(2, ge=1, description="validations per epoch; the best one is kept")
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a better one")
    validation_rows: int = Field(2000, ge=1, description="rows used at most in each validation while training")
