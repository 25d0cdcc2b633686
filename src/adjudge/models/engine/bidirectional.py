"""Lets every token of a causal trunk see what comes after it as well."""

from __future__ import annotations

from typing import Any

import torch

from adjudge.core.errors import ConfigError


def look_both_ways(trunk: Any) -> None:
    """Make a causal trunk bidirectional, by the switch that Transformers has for it.

    Raises:
        ConfigError: its first token sees nothing of the last one even so.
    """
    config: Any = trunk.config
    config.is_causal = False
    for module in trunk.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    training = trunk.training
    trunk.eval()
    with torch.no_grad():
        ids = torch.tensor([[3, 4, 5], [3, 4, 6]], device=next(trunk.parameters()).device)
        first, second = trunk(input_ids=ids, use_cache=False).last_hidden_state[:, 0]
    trunk.train(training)
    if torch.equal(first, second):
        raise ConfigError(
            f"attention: {type(trunk).__name__} stays causal with this version of Transformers; "
            "leave out attention: bidirectional"
        )
