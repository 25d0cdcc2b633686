"""The key-value states of a prompt's prefix, computed once and reused over batches, data sets and requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn


@dataclass
class PrefixStates:
    """What a prefix's tokens offer to those behind them, at every attention layer.

    Attributes:
        length: P, tokens of the prefix.
        layers: keys and values ``[kv_heads, P, D]`` of each call of the attention, in the order of the calls; so
            layers that share one module each have their own.
    """

    length: int
    layers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Memory that they take."""
        return sum(state.numel() * state.element_size() for layer in self.layers for state in layer)


class PrefixRunner(Protocol):
    """What the cache needs of an engine."""

    trunk: nn.Module

    def prefix_states(self, prefix_ids: tuple[int, ...]) -> PrefixStates:
        """Run the prefix alone."""


@dataclass
class PrefixCache:
    """Remembers the states of one prefix for as long as nothing that they depend on changes.

    That is the prefix's ids, the precision, and the trunk: its weights, by where they lie and how often they were
    written, and which adapters are switched on. Writes that PyTorch does not count (fused optimisers, ``.data``) are
    not seen: whoever makes them calls `clear`, as `Network.train` does before any training step.
    """

    _entry: tuple[tuple[Any, ...], PrefixStates] | None = None

    def get(self, engine: PrefixRunner, prefix_ids: tuple[int, ...], precision: str) -> PrefixStates:
        """The states of the prefix, computed where they are not at hand."""
        key = (prefix_ids, precision, trunk_version(engine.trunk))
        entry = self._entry
        if entry is not None and entry[0] == key:
            return entry[1]
        entry = None
        self.clear()  # the old states go before the new ones take memory
        states = engine.prefix_states(prefix_ids)
        self._entry = (key, states)  # at once, so that no thread finds one with the other's key
        return states

    def clear(self) -> None:
        """Forget the states."""
        self._entry = None

    @property
    def n_bytes(self) -> int:
        """Memory that the cache takes now."""
        return 0 if self._entry is None else self._entry[1].n_bytes


def trunk_version(trunk: nn.Module) -> tuple[Any, ...]:
    """A value that changes when a weight is written or replaced, or an adapter is added, switched or scaled."""
    return tuple(_weights(trunk)), tuple(_adapters(trunk))


def _weights(trunk: nn.Module) -> Iterator[tuple[int, int]]:
    for tensor in (*trunk.parameters(), *trunk.buffers()):
        # Tensors made in inference mode count no writes; they cannot be trained either.
        yield tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def _adapters(trunk: nn.Module) -> Iterator[str]:
    """PEFT's layers by what they would do: which adapters are on, merged or off, and how they are scaled."""
    for module in trunk.modules():
        if hasattr(module, "active_adapters"):
            names = ("active_adapters", "merged_adapters", "disable_adapters", "scaling")
            yield repr([getattr(module, name, None) for name in names])
