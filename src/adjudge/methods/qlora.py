"""`qlora`: low-rank adapters on a base model whose weights are in 4 bits (Dettmers et al. 2023)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.adapters.injected import add_lora
from adjudge.models.adapters.quantization import quantize_trunk
from adjudge.models.adapters.target_layers import Role, resolve_targets
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.precision import default_device
from adjudge.models.trunk.seeding import seeded_torch
from adjudge.train.training_config import OptimizerConfig, OptimizerKind


class QloraOptimizer(OptimizerConfig):
    """How gradients become steps."""

    kind: OptimizerKind | Literal["auto"] = Field(  # type: ignore[assignment]
        "auto", description="auto: adamw_paged on a GPU, else adamw; or adam, adamw, adamw_8bit, adamw_paged …"
    )


class QloraTraining(AdapterTraining):
    """Training of adapters and head."""

    optimizer: QloraOptimizer = Field(default_factory=QloraOptimizer, description="how gradients become steps")


class QloraConfig(AdaptedConfig):
    """Options of `qlora`."""

    kind: Literal["qlora"] = "qlora"
    rank: int = Field(8, ge=1, description="rank of the update of each matrix")
    alpha: float | None = Field(None, gt=0, description="scale of the update is alpha / rank; default: 2 * rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters' input")
    targets: Role | list[Role] = Field("all", description="attention, mlp, experts, router or all; or a list of them")
    last_layers: int | None = Field(None, ge=1, description="adapt only the last so many layers; default: every one")
    rank_stabilised: bool = Field(False, description="scale by alpha / sqrt(rank) (rsLoRA)")
    variant: Literal["plain", "dora"] = Field("plain", description="plain or dora")
    training: QloraTraining = Field(default_factory=QloraTraining, description="the training loop")


def fit(train: Split, validation: Split, config: QloraConfig, setting: Setting) -> Fitted:
    """Round the base model to NF4, then train adapters and head in full precision."""
    device = default_device()

    def adapt(pretrained: Pretrained) -> Adapted:
        targets = resolve_targets(pretrained.trunk, config.targets, config.last_layers)
        facts = quantize_trunk(pretrained.trunk, device)
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
        setting.log({"event": "note", "message": f"{facts['share']:.0%} of the base in NF4: {facts['compute']}"})
        return Adapted("lora", targets.names, quantization="nf4", facts={"quantization": facts})

    return fit_adapted(train, validation, _resolved(config, device.type), setting, adapt)


def _resolved(config: QloraConfig, device: str) -> QloraConfig:
    """The config with its optimiser chosen: paged where there is memory to page."""
    if config.training.optimizer.kind != "auto":
        return config
    chosen = {"kind": "adamw_paged" if device == "cuda" else "adamw"}
    optimizer = config.training.optimizer.model_copy(update=chosen)
    return config.model_copy(update={"training": config.training.model_copy(update={"optimizer": optimizer})})


METHOD = Method("qlora", QloraConfig, fit)
