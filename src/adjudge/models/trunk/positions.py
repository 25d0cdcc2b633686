"""How long an input a model has positions for."""

from __future__ import annotations

from typing import Any

from torch import nn


def stated_length(config: Any) -> int | None:
    """The length that a configuration states, or None where it states none, or one that is no length (XLNet: -1)."""
    length = getattr(config, "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def longest_input(trunk: Any) -> int | None:
    """The most tokens that a trunk has positions for, or None where its positions have no end."""
    length = stated_length(trunk.config)
    return None if length is None else length - max(first_positions(trunk), default=0)


def first_positions(trunk: nn.Module) -> tuple[int, ...]:
    """Where a trunk's positions may begin other than at 0: behind the row that a position table keeps for padding."""
    tables = (table for name, table in trunk.named_modules() if "position" in name and isinstance(table, nn.Embedding))
    return tuple({table.padding_idx + 1 for table in tables if table.padding_idx is not None})
