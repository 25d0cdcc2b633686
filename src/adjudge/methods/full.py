"""`full`: every weight of an encoder or a causal model is fine-tuned, with a head on top."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.trunk.loading import Pretrained
from adjudge.train.training_config import TrainingConfig


class FullTraining(TrainingConfig):
    """Training of all weights. The rate is for small encoders; a causal model wants 2e-5 to 1e-4."""

    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate; causal models want 2e-5 to 1e-4")
    epochs: float = Field(3.0, gt=0, description="passes over train; a fraction is allowed")


class FullConfig(AdaptedConfig):
    """Options of `full`."""

    kind: Literal["full"] = "full"
    model: str = Field("minilm-l6", description="an encoder or a causal model: short name, folder or hub id")
    max_tokens: int | None = Field(None, ge=8, description="of the whole prompt; default: 128 (encoder), 256 (causal)")
    training: FullTraining = Field(default_factory=FullTraining, description="the training loop")


def fit(train: Split, validation: Split, config: FullConfig, setting: Setting) -> Fitted:
    """Fine-tune all weights."""
    return fit_adapted(train, validation, config, setting, _adapt)


def _adapt(pretrained: Pretrained) -> Adapted:
    pretrained.trunk.requires_grad_(True)
    return Adapted("full")


METHOD = Method("full", FullConfig, fit)
