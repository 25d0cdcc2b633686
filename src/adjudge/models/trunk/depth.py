"""A model's depth: running its first layers alone, which costs and remembers that much less."""

from __future__ import annotations

from typing import Any

from adjudge.core.errors import ConfigError


def keep_first_layers(config: Any, layers: int | None) -> int | None:
    """Change a configuration so that the model built from it has its first layers only.

    What follows the last layer of the whole model (a causal model's final norm) then follows the last one kept.
    Upper layers are often of little use to a classifier that is trained (Sajjad et al. 2020; Gromov et al. 2024).

    Args:
        config: of Transformers; changed in place.
        layers: how many are kept; None: all.

    Returns:
        How many are kept, or None where that is all.

    Raises:
        ConfigError: the model has fewer, or its upper layers read what its lower ones keep for them.
    """
    if layers is None:
        return None
    depth = int(config.num_hidden_layers)
    if not 1 <= layers <= depth:
        raise ConfigError(
            f"head.after_layer: got {layers}; this model has {depth} layers, so allowed are 1 to {depth}"
        )
    if layers == depth:
        return None
    if getattr(config, "num_kv_shared_layers", None):
        raise ConfigError(
            f"head.after_layer: in models of type {config.model_type!r} upper layers read keys and values of lower "
            "ones; leave it out"
        )
    for name, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == depth and "layer" in name:
            setattr(config, name, value[:layers])
    config.num_hidden_layers = layers
    return layers
