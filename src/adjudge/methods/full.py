"""`full`: every weight of an encoder is fine-tuned, with a score head on the pooled state."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.contract import Fitted, Method, MethodConfig, Setting
from adjudge.methods.neural import HeadConfig, assemble, build_head, choose_prompt, train_classifier
from adjudge.models.loading import load_pretrained
from adjudge.models.precision import Precision
from adjudge.train.config import TrainingConfig


class FullTraining(TrainingConfig):
    """Training of all weights."""

    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate")
    epochs: float = Field(3.0, gt=0, description="passes over train; a fraction is allowed")


class FullConfig(MethodConfig):
    """Options of `full`."""

    kind: Literal["full"] = "full"
    model: str = Field("minilm-l6", description="an encoder: short name, folder or hub id")
    max_tokens: int = Field(128, ge=8, description="longer texts are cut to this many tokens")
    precision: Precision = Field("auto", description="auto, float32 or bfloat16")
    head: HeadConfig = Field(default_factory=HeadConfig, description="how the answer is read off")
    training: FullTraining = Field(default_factory=FullTraining, description="the training loop")


def fit(train: Split, validation: Split, config: FullConfig, setting: Setting) -> Fitted:
    """Fine-tune all weights of an encoder."""
    pretrained = load_pretrained(config.model, allow=("encoder",))
    prompt = choose_prompt(pretrained, "bare", config.max_tokens, setting)
    head = build_head(pretrained, prompt, config.head, setting)
    pretrained.trunk.requires_grad_(True)
    classifier = assemble(pretrained, head, prompt, config.precision, "full", setting)
    return train_classifier(classifier, train, validation, config.training, setting)


METHOD = Method("full", FullConfig, fit)
