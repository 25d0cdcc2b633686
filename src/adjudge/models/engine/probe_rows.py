"""The rows with which a model is tried when it is loaded: by themselves, and in every form that rows can share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adjudge.core.types import Encoded
from adjudge.models.trunk.positions import stated_length


def probe_rows(config: Any, *, causal: bool) -> tuple[list[Encoded], tuple[int, ...]]:
    """Rows of several lengths, some of them equal, one longer than the model's window (where memory allows).

    Args:
        config: of the trunk.
        causal: whether it is causal.

    Returns:
        The rows, and a prefix for all of them; of an encoder an empty one.
    """
    # Some models derive positions from where the padding id stands, so it must not occur inside a row.
    usable = [i for i in range(min(int(config.vocab_size), 1000)) if i != getattr(config, "pad_token_id", None)]
    limit = (stated_length(config) or 512) - 8
    names = ("sliding_window", "local_attention", "attention_window", "attention_chunk_size")
    windows = [getattr(config, name, None) for name in names]
    longest = max([24, *(int(window) + 24 for window in windows if isinstance(window, int) and window < 2048)])

    def row(length: int, seed: int) -> Encoded:
        ids = tuple(usable[(seed * 7919 + 104729 * i) % len(usable)] for i in range(min(length, limit)))
        return Encoded(ids[:-1], ids[-1:], len(ids) - 1)

    prefix = tuple(usable[(31 * i) % len(usable)] for i in range(5)) if causal else ()
    return [row(length, seed) for seed, length in enumerate((3, 7, longest, 1, 12, 7, 12), start=1)], prefix


def by_length(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Places of the rows of each length."""
    places: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        places.setdefault(len(row), []).append(i)
    return list(places.values())
