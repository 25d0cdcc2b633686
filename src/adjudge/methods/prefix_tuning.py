"""`prefix`: learned keys and values at every attention layer, in front of the prompt (Li and Liang 2021)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.methods.virtual import Start, start_ids
from adjudge.models.adapters.soft import add_prefix
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.seeding import seeded_torch


class PrefixTraining(AdapterTraining):
    """Training of keys, values and head."""

    learning_rate: float = Field(1e-2, gt=0, description="peak learning rate of the keys and values")
    epochs: float = Field(3.0, gt=0, description="passes over train; a fraction is allowed")


class PrefixConfig(AdaptedConfig):
    """Options of `prefix`."""

    kind: Literal["prefix"] = "prefix"
    virtual_tokens: int = Field(20, ge=1, description="how many virtual tokens")
    start: Start = Field("labels", description="whose keys and values they start as: the labels' words, or vocabulary")
    projection: int | None = Field(
        None, ge=1, description="train through a network of this width, from a random start; a rate of 1e-3 suits that"
    )
    training: PrefixTraining = Field(default_factory=PrefixTraining, description="the training loop")


def fit(train: Split, validation: Split, config: PrefixConfig, setting: Setting) -> Fitted:
    """Train keys, values and head."""

    def adapt(pretrained: Pretrained) -> Adapted:
        ids = start_ids(pretrained, config.virtual_tokens, config.start, setting)
        # Without a network nothing is drawn.
        with seeded_torch(setting.seed, "init") if config.projection else nullcontext():
            add_prefix(pretrained.trunk, ids, projection=config.projection)
        return Adapted("prefix", facts={"virtual_tokens": config.virtual_tokens})

    return fit_adapted(train, validation, config, setting, adapt)


METHOD = Method("prefix", PrefixConfig, fit)
