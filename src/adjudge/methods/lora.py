"""`lora`: low-rank adapters on the linear layers of an encoder or a causal model (Hu et al. 2021)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.contract import Fitted, Method, MethodConfig, Setting
from adjudge.methods.neural import HeadConfig, assemble, build_head, choose_prompt, train_classifier
from adjudge.models.adapters import Role, add_lora, linear_layers
from adjudge.models.loading import load_pretrained
from adjudge.models.precision import Precision
from adjudge.models.seeding import seeded_torch
from adjudge.prompts import Style
from adjudge.train.config import TrainingConfig


class LoraTraining(TrainingConfig):
    """Training of adapters and head."""

    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of the adapters")
    epochs: float = Field(1.5, gt=0, description="passes over train; a fraction is allowed")
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="constant, linear or cosine")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decay of weight matrices")


class LoraConfig(MethodConfig):
    """Options of `lora`."""

    kind: Literal["lora"] = "lora"
    model: str = Field("smollm2-135m", description="an encoder or a causal model: short name, folder or hub id")
    rank: int = Field(8, ge=1, description="rank of the update of each matrix")
    alpha: float | None = Field(None, gt=0, description="scale of the update is alpha / rank; default: 2 * rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters' input")
    targets: Role = Field("all", description="linear layers that get adapters: attention, mlp or all")
    last_layers: int | None = Field(None, ge=1, description="adapt only the last so many layers; default: every one")
    rank_stabilised: bool = Field(False, description="scale by alpha / sqrt(rank) (rsLoRA)")
    prompt_style: Style = Field("auto", description="auto, chat, plain or bare")
    max_tokens: int = Field(256, ge=8, description="of the whole prompt; the text is cut to fit")
    precision: Precision = Field("auto", description="auto, float32 or bfloat16")
    head: HeadConfig = Field(default_factory=HeadConfig, description="how the answer is read off")
    training: LoraTraining = Field(default_factory=LoraTraining, description="the training loop")


def fit(train: Split, validation: Split, config: LoraConfig, setting: Setting) -> Fitted:
    """Train adapters and head; the base model stays as it is."""
    pretrained = load_pretrained(config.model)
    prompt = choose_prompt(pretrained, config.prompt_style, config.max_tokens, setting)
    head = build_head(pretrained, prompt, config.head, setting)
    targets = linear_layers(pretrained.trunk, config.targets, config.last_layers)
    with seeded_torch(setting.seed, "init"):
        add_lora(
            pretrained.trunk,
            rank=config.rank,
            alpha=config.alpha or 2.0 * config.rank,
            dropout=config.dropout,
            targets=targets,
            rank_stabilised=config.rank_stabilised,
        )
    classifier = assemble(pretrained, head, prompt, config.precision, "lora", setting)
    fitted = train_classifier(classifier, train, validation, config.training, setting)
    fitted.facts["adapted_layers"] = len(targets)
    return fitted


METHOD = Method("lora", LoraConfig, fit)
