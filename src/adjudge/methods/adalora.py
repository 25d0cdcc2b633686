"""`adalora`: low-rank adapters that share out their ranks over the layers while training (Zhang et al. 2023)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted, n_train_rows
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.adapters.allocation import RankAllocation, RankBudget
from adjudge.models.adapters.injected import add_adalora
from adjudge.models.adapters.target_layers import Role, linear_layers
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.seeding import seeded_torch


class AdaloraTraining(AdapterTraining):
    """Training of adapters and head."""

    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate of the adapters")


class AdaloraConfig(AdaptedConfig):
    """Options of `adalora`."""

    kind: Literal["adalora"] = "adalora"
    rank: int = Field(8, ge=1, description="mean rank of a matrix's update at the end")
    start_rank: int | None = Field(None, ge=1, description="rank of each at first; default: 1.5 * rank")
    alpha: float | None = Field(None, gt=0, description="scale of the update is alpha / start rank; default: 2 of it")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters' input")
    targets: Role = Field("all", description="linear layers that get adapters: attention, mlp or all")
    orthogonality: float = Field(0.1, ge=0, description="weight of the penalty that keeps the factors orthogonal")
    training: AdaloraTraining = Field(default_factory=AdaloraTraining, description="the training loop")

    @model_validator(mode="after")
    def _ranks_fall(self) -> AdaloraConfig:
        if self.start_rank is not None and self.start_rank < self.rank:
            raise ValueError(f"`start_rank` must not be below `rank` ({self.rank})")
        return self


def fit(train: Split, validation: Split, config: AdaloraConfig, setting: Setting) -> Fitted:
    """Train adapters and head; singular values that matter little are taken away on the way."""
    allocations: list[RankAllocation] = []

    def adapt(pretrained: Pretrained) -> Adapted:
        targets = linear_layers(pretrained.trunk, config.targets)
        start = config.start_rank or -(-3 * config.rank // 2)
        with seeded_torch(setting.seed, "init"):
            add_adalora(
                pretrained.trunk,
                start_rank=start,
                rank=config.rank,
                alpha=config.alpha or 2.0 * start,
                dropout=config.dropout,
                targets=targets,
            )
        budget = RankBudget.of(start, config.rank, config.training.total_steps(*n_train_rows(train, setting)))
        allocations.append(RankAllocation(pretrained.trunk, budget, config.orthogonality))
        return Adapted("adalora", targets, companions=allocations)

    fitted = fit_adapted(train, validation, config, setting, adapt)
    for one in (fitted, *fitted.further):
        one.facts["ranks"] = allocations[0].ranks()
    return fitted


METHOD = Method("adalora", AdaloraConfig, fit)
