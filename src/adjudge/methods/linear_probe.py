"""`linear_probe`: the model stays frozen and only the head on its states learns, through the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.trunk.loading import Pretrained


class ProbeTraining(AdapterTraining):
    """Training of the head alone."""

    learning_rate: float = Field(5e-3, gt=0, description="peak learning rate of the head")
    epochs: float = Field(5.0, gt=0, description="passes over train; a fraction is allowed")


class LinearProbeConfig(AdaptedConfig):
    """Options of `linear_probe`."""

    kind: Literal["linear_probe"] = "linear_probe"
    training: ProbeTraining = Field(default_factory=ProbeTraining, description="the training loop")


def fit(train: Split, validation: Split, config: LinearProbeConfig, setting: Setting) -> Fitted:
    """Train the head; of a label head, the label words' rows."""
    head = config.head.model_copy(update={"train_label_rows": True})
    return fit_adapted(train, validation, config.model_copy(update={"head": head}), setting, _adapt)


def _adapt(pretrained: Pretrained) -> Adapted:
    pretrained.trunk.requires_grad_(False)
    return Adapted("none")


METHOD = Method("linear_probe", LinearProbeConfig, fit)
