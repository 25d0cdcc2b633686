"""`ia3`: learned vectors scale keys, values and the inner states of the MLPs (Liu et al. 2022)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adjudge.core.types import Split
from adjudge.methods.adapted import Adapted, AdaptedConfig, AdapterTraining, fit_adapted
from adjudge.methods.method import Fitted, Method, Setting
from adjudge.models.adapters.anatomy import attention_layers, layer_ends
from adjudge.models.adapters.injected import add_ia3
from adjudge.models.adapters.target_layers import linear_layers
from adjudge.models.trunk.loading import Pretrained


class Ia3Training(AdapterTraining):
    """Training of the vectors and the head."""

    learning_rate: float = Field(5e-3, gt=0, description="peak learning rate of the vectors")
    epochs: float = Field(3.0, gt=0, description="passes over train; a fraction is allowed")


class Ia3Config(AdaptedConfig):
    """Options of `ia3`."""

    kind: Literal["ia3"] = "ia3"
    targets: Literal["attention", "mlp", "all"] = Field(
        "all", description="attention: keys and values; mlp: what goes into its last projection; all: both"
    )
    training: Ia3Training = Field(default_factory=Ia3Training, description="the training loop")


def fit(train: Split, validation: Split, config: Ia3Config, setting: Setting) -> Fitted:
    """Train the vectors and the head."""

    def adapt(pretrained: Pretrained) -> Adapted:
        trunk = pretrained.trunk
        linear_layers(trunk, config.targets)  # refuses what cannot be scaled, a mixture's experts
        attention = () if config.targets == "mlp" else attention_layers(trunk)
        keys_values = list(dict.fromkeys(name for layer in attention for name in layer.sources))
        mlp = [] if config.targets == "attention" else list(layer_ends(trunk).mlp)
        add_ia3(trunk, keys_values=keys_values, mlp=mlp)
        return Adapted("ia3", [*keys_values, *mlp])

    return fit_adapted(train, validation, config, setting, adapt)


METHOD = Method("ia3", Ia3Config, fit)
