"""`bottleneck`: small networks with a residual behind the halves of each layer (Houlsby et al. 2019)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.errors import ConfigError
from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.adapters.anatomy import layer_ends
from adjudge.models.adapters.bottleneck import Nonlinearity, add_bottlenecks
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.seeding import seeded_torch


class BottleneckConfig(AdaptedConfig):
    """Options of `bottleneck`."""

    kind: Literal["bottleneck"] = "bottleneck"
    placement: Literal["houlsby", "pfeiffer"] = Field(
        "pfeiffer", description="houlsby: behind attention and MLP; pfeiffer: behind the MLP alone"
    )
    reduction: int = Field(16, ge=1, description="the bottleneck's width is the hidden size over this")
    nonlinearity: Nonlinearity = Field("gelu", description="relu, gelu or silu")
    training: AdapterTraining = Field(default_factory=AdapterTraining, description="the training loop")


def fit(train: Split, validation: Split, config: BottleneckConfig, setting: Setting) -> Fitted:
    """Train the bottlenecks and the head."""

    def adapt(pretrained: Pretrained) -> Adapted:
        ends = layer_ends(pretrained.trunk)
        before = ends.attention if config.placement == "houlsby" else ()
        targets = [*before, *ends.mlp]
        if not targets:
            raise ConfigError(
                f"bottleneck: no layer of {type(pretrained.trunk).__name__} ends in a projection to the width of its "
                "states, so there is nothing to put a bottleneck behind; use lora or full"
            )
        width = max(1, pretrained.hidden_size // config.reduction)
        with seeded_torch(setting.seed, "init"):
            add_bottlenecks(pretrained.trunk, targets, width=width, nonlinearity=config.nonlinearity)
        return Adapted("bottleneck", targets, facts={"bottleneck_width": width})

    return fit_adapted(train, validation, config, setting, adapt)


METHOD = Method("bottleneck", BottleneckConfig, fit)
