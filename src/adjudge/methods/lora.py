"""`lora`: low-rank adapters on the weights of an encoder or a causal model (Hu et al. 2021), and its variants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.adapters.injected import Variant, add_lora
from adjudge.models.adapters.target_layers import Role, resolve_targets
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.seeding import seeded_torch
from adjudge.train.training_config import OptimizerConfig


class LoraOptimizer(OptimizerConfig):
    """How gradients become steps."""

    lora_plus_ratio: float = Field(1.0, ge=1, description="rate of B over that of A (LoRA+); 1: the same, 16: usual")


class LoraTraining(AdapterTraining):
    """Training of adapters and head."""

    optimizer: LoraOptimizer = Field(default_factory=LoraOptimizer, description="how gradients become steps")


class LoraConfig(AdaptedConfig):
    """Options of `lora`."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(8, ge=1, description="rank of the update of each matrix")
    alpha: float | None = Field(None, gt=0, description="scale of the update is alpha / rank; default: 2 * rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters' input")
    targets: Role | list[Role] = Field("all", description="attention, mlp, experts, router or all; or a list of them")
    last_layers: int | None = Field(None, ge=1, description="adapt only the last so many layers; default: every one")
    rank_stabilised: bool = Field(False, description="scale by alpha / sqrt(rank) (rsLoRA)")
    variant: Variant = Field("plain", description="plain, dora or pissa")
    training: LoraTraining = Field(default_factory=LoraTraining, description="the training loop")


def fit(train: Split, validation: Split, config: LoraConfig, setting: Setting) -> Fitted:
    """Train adapters and head; the base model stays as it is."""

    def adapt(pretrained: Pretrained) -> Adapted:
        targets = resolve_targets(pretrained.trunk, config.targets, config.last_layers)
        with seeded_torch(setting.seed, "init"):
            add_lora(
                pretrained.trunk,
                rank=config.rank,
                alpha=config.alpha or 2.0 * config.rank,
                dropout=config.dropout,
                targets=targets,
                rank_stabilised=config.rank_stabilised,
                variant=config.variant,
            )
        return Adapted("lora", targets.names, {".lora_B.": config.training.optimizer.lora_plus_ratio})

    fitted = fit_adapted(train, validation, config, setting, adapt)
    return _as_saved(fitted) if config.variant == "pissa" else fitted


def _as_saved(fitted: Fitted) -> Fitted:
    """PiSSA's classifier as its files hold it: the whole base, and a difference to it.

    In half precision that rounds otherwise than the rest of the base, which was trained on; so from here on it
    answers, and is calibrated, as it will be when it is loaded.
    """
    with TemporaryDirectory(prefix="adjudge-pissa-") as folder:
        fitted.classifier.save(Path(folder) / "model")
        return replace(fitted, classifier=load_classifier(Path(folder) / "model"), validation_logits=None)


METHOD = Method("lora", LoraConfig, fit)
