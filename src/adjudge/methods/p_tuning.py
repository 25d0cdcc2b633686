"""`p_tuning`: virtual tokens whose embeddings are trained through a small network (Liu et al. 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.methods.virtual import Start, start_embeddings, start_ids
from adjudge.models.adapters.soft import Encoder, PromptEncoder, add_prompt
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.seeding import seeded_torch


class PTuningTraining(AdapterTraining):
    """Training of the virtual tokens, their network and the head."""

    epochs: float = Field(3.0, gt=0, description="passes over train; a fraction is allowed")


class PTuningConfig(AdaptedConfig):
    """Options of `p_tuning`."""

    kind: Literal["p_tuning"] = "p_tuning"
    virtual_tokens: int = Field(20, ge=1, description="how many virtual tokens")
    start: Start = Field("labels", description="what the network reads at first: the labels' words, or vocabulary")
    encoder: Encoder = Field("mlp", description="the network: mlp, or lstm with an mlp behind it")
    encoder_size: int = Field(128, ge=1, description="width of the network")
    training: PTuningTraining = Field(default_factory=PTuningTraining, description="the training loop")


def fit(train: Split, validation: Split, config: PTuningConfig, setting: Setting) -> Fitted:
    """Train the virtual tokens through their network, and the head."""

    def adapt(pretrained: Pretrained) -> Adapted:
        ids = start_ids(pretrained, config.virtual_tokens, config.start, setting)
        with seeded_torch(setting.seed, "init"):
            encoder = PromptEncoder(pretrained.hidden_size, config.encoder_size, config.encoder)
        add_prompt(pretrained.trunk, start_embeddings(pretrained, ids), encoder)
        return Adapted("p_tuning", facts={"virtual_tokens": config.virtual_tokens})

    return fit_adapted(train, validation, config, setting, adapt)


METHOD = Method("p_tuning", PTuningConfig, fit)
