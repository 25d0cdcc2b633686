"""Which options of a method are searched, and between which values: written in the recipe, or taken from here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from adjudge.core.config import StrictModel, validate
from adjudge.core.errors import ConfigError, did_you_mean
from adjudge.methods import MethodConfig


class Range(StrictModel):
    """Numbers between two ends; whole numbers if both ends are."""

    low: float | int = Field(description="smallest value")
    high: float | int = Field(description="largest value")
    log: bool = Field(False, description="draw the logarithm evenly: for values over several orders of magnitude")

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"`low` ({self.low:g}) must be below `high` ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` ({self.low:g}) must be above 0 where `log` is true")
        return self

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def values(self) -> tuple[Any, ...]:
        """Both ends."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """One of some values: anything that YAML can write."""

    options: tuple[Any, ...]

    def values(self) -> tuple[Any, ...]:
        """All of them."""
        return self.options

    def words(self) -> list[str]:
        """Each value as JSON, as it is kept in the study."""
        return [json.dumps(value, ensure_ascii=False) for value in self.options]


Dimension = Range | Choice
Space = dict[str, Dimension]


def _rate(low: float, high: float) -> Space:
    return {"training.learning_rate": Range(low=low, high=high, log=True)}


_LOW_RANK: Space = {**_rate(1e-4, 3e-3), "rank": Choice((4, 8, 16, 32)), "dropout": Choice((0.0, 0.05, 0.1))}
_VIRTUAL: Space = {"virtual_tokens": Choice((5, 10, 20, 50))}

# Learning rates lie a factor of ten around each family's usual one; for the rest, the two or three options of which
# the literature finds that they matter.
SPACES: dict[str, Space] = {
    "tfidf": {
        "c": Range(low=0.1, high=30.0, log=True),
        "word_ngrams": Choice(([1, 1], [1, 2], [1, 3])),
        "char_ngrams": Choice(([2, 4], [3, 5], [2, 6])),
        "class_weight": Choice(("balanced", None)),
    },
    "embedding": {"c": Range(low=1e-3, high=10.0, log=True), "class_weight": Choice(("balanced", None))},
    "zero_shot": {"scoring": Choice(("raw", "pmi", "batch"))},
    "few_shot": {"shots": Choice((2, 4, 8, 16)), "selection": Choice(("random", "stratified"))},
    "full": {
        **_rate(1e-5, 5e-4),
        "training.batch_size": Choice((16, 32)),
        "training.weight_decay": Choice((0.0, 0.01, 0.1)),
    },
    "linear_probe": _rate(5e-4, 5e-2),
    "bitfit": _rate(2e-4, 2e-2),
    "lora": _LOW_RANK,
    "qlora": _LOW_RANK,
    "adalora": {**_rate(2e-4, 1e-2), "rank": Choice((4, 8, 16))},
    "ia3": _rate(5e-4, 5e-2),
    "bottleneck": {**_rate(1e-4, 5e-3), "reduction": Choice((4, 8, 16, 32))},
    "prefix": {**_rate(1e-3, 5e-2), **_VIRTUAL},
    "prompt": {**_rate(3e-3, 3e-1), **_VIRTUAL},
    "p_tuning": {**_rate(1e-4, 1e-2), **_VIRTUAL, "encoder_size": Choice((64, 128, 256))},
}
NOTHING_TO_SEARCH: dict[str, str] = {"majority": "it has no options"}


def search_space(options: MethodConfig, written: Mapping[str, Any] | None, where: str) -> Space:
    """The space of one method: what the recipe writes, else the method's own.

    Args:
        options: the method's validated options.
        written: the entry's ``search``, or None.
        where: the entry, for messages.

    Returns:
        Dotted option -> dimension; empty for a method that has nothing to search.

    Raises:
        ConfigError: options that the method does not have, ranges or values that it does not take; all at once.
    """
    if written is None:
        return dict(SPACES.get(options.kind, {}))
    problems: list[str] = []
    space: Space = {}
    for option, raw in written.items():
        try:
            dimension = _dimension(raw, f"{where}: search.{option}")
            _refuse_unknown(type(options), option, where)
            for value in dimension.values():
                with_values(options, {option: value}, f"{where}: search.{option}")
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            space[option] = dimension
    if not written:
        problems.append(f"{where}: search: names no option; leave it out to search the method's own space")
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return space


def with_values(options: MethodConfig, values: Mapping[str, Any], where: str) -> MethodConfig:
    """The options with some of them changed, validated.

    Raises:
        ConfigError: a value that the method does not take.
    """
    raw = options.model_dump(mode="json")
    set_values(raw, values)
    return validate(type(options), raw, where)


def set_values(raw: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set dotted options in a raw mapping, in place."""
    for option, value in values.items():
        *owners, last = option.split(".")
        place = raw
        for owner in owners:
            place = place.setdefault(owner, {})
        place[last] = value


def _dimension(raw: Any, where: str) -> Dimension:
    if isinstance(raw, list):
        if len(raw) < 2 or any(raw.count(value) > 1 for value in raw):
            raise ConfigError(f"{where}: a list needs two values or more, all different, got {raw!r}")
        return Choice(tuple(raw))
    if isinstance(raw, dict):
        return validate(Range, raw, where)
    raise ConfigError(f"{where}: expected a list of values or {{low, high, log}}, got {raw!r}")


def _refuse_unknown(config: type[StrictModel], option: str, where: str) -> None:
    known = list(_options(config))
    if option not in known:
        raise ConfigError(f"{where}: search: unknown option {option!r}; {did_you_mean(option, known)}")


def _options(config: type[StrictModel], before: str = "") -> Iterator[str]:
    """Every option of a config by its dotted name, those of configs inside it too."""
    for name, field in config.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, StrictModel):
            yield from _options(inner, f"{before}{name}.")
        elif name not in ("kind", "model"):
            yield f"{before}{name}"
