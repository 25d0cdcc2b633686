"""`bitfit`: only the biases learn (Ben Zaken et al. 2022)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.adapters.biases import train_biases
from adjudge.models.adapters.target_layers import Role, linear_layers
from adjudge.models.trunk.loading import Pretrained


class BitfitTraining(AdapterTraining):
    """Training of biases and head."""

    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate of the biases")


class BitfitConfig(AdaptedConfig):
    """Options of `bitfit`."""

    kind: Literal["bitfit"] = "bitfit"
    new_biases: Role | None = Field(
        "all", description="linear layers that get a bias if they have none; null: none do"
    )
    training: BitfitTraining = Field(default_factory=BitfitTraining, description="the training loop")


def fit(train: Split, validation: Split, config: BitfitConfig, setting: Setting) -> Fitted:
    """Train biases and head."""

    def adapt(pretrained: Pretrained) -> Adapted:
        trunk = pretrained.trunk
        new = () if config.new_biases is None else linear_layers(trunk, config.new_biases, option="new_biases")
        return Adapted("bitfit", [name.removesuffix(".bias") for name in train_biases(trunk, new)])

    return fit_adapted(train, validation, config, setting, adapt)


METHOD = Method("bitfit", BitfitConfig, fit)
