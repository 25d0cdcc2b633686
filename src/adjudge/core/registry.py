"""Lazy tables of named things: nothing is imported until it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from adjudge.core.errors import ConfigError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """Where a named thing is, as ``module:attribute``, and what it is in one line."""

    target: str
    summary: str


class Registry(Generic[T]):
    """A read-only table from names to lazily imported objects.

    Args:
        kind: what the names are, for error messages ("method").
        entries: name -> `Entry`.
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self._kind = kind
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def summary(self, name: str) -> str:
        """The one-line description of a name."""
        return self._entry(name).summary

    def load(self, name: str) -> T:
        """Import and return what a name stands for.

        Raises:
            ConfigError: the name is not in the table; the message lists the names and the nearest one.
        """
        module, attribute = self._entry(name).target.split(":")
        loaded: T = attrgetter(attribute)(importlib.import_module(module))
        return loaded

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise ConfigError(f"unknown {self._kind} {name!r}; {did_you_mean(name, self._entries)}")
        return self._entries[name]
