"""Trial runs of a loaded trunk: what it takes and gives is found by asking it, not by its name or its papers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from adjudge.core.errors import ConfigError

TOKENS = 8
"""Of a trial's row."""


def state_width(trunk: nn.Module) -> int:
    """H: the width of what a trunk gives, which is not always that of its layers (a projection may end it)."""
    with at_rest(trunk), torch.no_grad():
        states: torch.Tensor = trunk(input_ids=some_ids(trunk), use_cache=False).last_hidden_state
    return states.shape[-1]


def refuse_without_embeddings(trunk: nn.Module) -> None:
    """Refuse a trunk that cannot be given embeddings in the place of ids, as learned virtual tokens need it.

    Raises:
        ConfigError: so it is.
    """
    with at_rest(trunk), torch.no_grad():
        ids = some_ids(trunk)
        expected = trunk(input_ids=ids, use_cache=False).last_hidden_state
        try:
            embedded = trunk.get_input_embeddings()(ids)  # type: ignore[operator]
            found = trunk(inputs_embeds=embedded, use_cache=False).last_hidden_state
            same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)
        except Exception as error:
            raise _no_embeddings(trunk) from error
    if not same:
        raise _no_embeddings(trunk)


def _no_embeddings(trunk: nn.Module) -> ConfigError:
    return ConfigError(
        f"{type(trunk).__name__} does not take learned embeddings in the place of tokens, so virtual tokens cannot be "
        "put in front of a prompt; use lora, bitfit or full"
    )


def some_ids(trunk: Any) -> torch.Tensor:
    """A row of ids ``[1, T]`` from the middle of the vocabulary, where no special ones are, and none that pads."""
    rows = len(trunk.get_input_embeddings().weight)
    middle = [(rows // 2 + i) % rows for i in range(TOKENS + 1)]
    usable = [i for i in middle if i != getattr(trunk.config, "pad_token_id", None)]
    return torch.tensor([usable[:TOKENS]], device=next(trunk.parameters()).device)


@contextmanager
def at_rest(trunk: nn.Module) -> Iterator[None]:
    """Without dropout, for a while."""
    training = trunk.training
    trunk.eval()
    try:
        yield
    finally:
        trunk.train(training)
