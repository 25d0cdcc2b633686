"""`prompt`: learned embeddings of virtual tokens in front of the prompt (Lester et al. 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.methods.virtual import Start, start_embeddings, start_ids
from adjudge.models.adapters.soft import add_prompt
from adjudge.models.trunk.loading import Pretrained


class PromptTraining(AdapterTraining):
    """Training of the virtual tokens and the head; embeddings want a high rate."""

    learning_rate: float = Field(1e-2, gt=0, description="peak learning rate of the virtual tokens")
    epochs: float = Field(3.0, gt=0, description="passes over train; a fraction is allowed")


class PromptConfig(AdaptedConfig):
    """Options of `prompt`."""

    kind: Literal["prompt"] = "prompt"
    virtual_tokens: int = Field(20, ge=1, description="how many virtual tokens")
    start: Start = Field("labels", description="what they start as: the labels' words, or vocabulary at random")
    training: PromptTraining = Field(default_factory=PromptTraining, description="the training loop")


def fit(train: Split, validation: Split, config: PromptConfig, setting: Setting) -> Fitted:
    """Train the virtual tokens and the head."""

    def adapt(pretrained: Pretrained) -> Adapted:
        ids = start_ids(pretrained, config.virtual_tokens, config.start, setting)
        add_prompt(pretrained.trunk, start_embeddings(pretrained, ids))
        return Adapted("prompt", facts={"virtual_tokens": config.virtual_tokens})

    return fit_adapted(train, validation, config, setting, adapt)


METHOD = Method("prompt", PromptConfig, fit)
