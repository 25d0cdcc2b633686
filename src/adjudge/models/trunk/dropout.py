"""A model's own dropout: the rates that its configuration names, and setting them before the model is built."""

from __future__ import annotations

from typing import Any

from adjudge.core.errors import ConfigError

# Rates of parts that are not loaded: Transformers' own heads and poolers.
_NOT_OF_TRUNK = ("classifier_", "seq_classif_", "qa_", "summary_", "pooler_")


def dropout_rates(config: Any) -> dict[str, float]:
    """The dropout rates of a trunk, by their names in its Transformers configuration."""
    return {
        name: float(value or 0.0)
        for name, value in sorted(config.to_dict().items())
        if ("dropout" in name or name.endswith("pdrop"))
        and not name.startswith(_NOT_OF_TRUNK)
        and not isinstance(value, bool)
        and (value is None or isinstance(value, int | float))
    }


def attention_dropout(config: Any) -> float:
    """The largest rate of those that drop attention weights."""
    return max((rate for name, rate in dropout_rates(config).items() if _of_attention(name)), default=0.0)


def set_dropout(config: Any, every: float | None, attention: float | None) -> dict[str, float]:
    """Change the rates in a configuration that a model is about to be built from.

    Args:
        config: of Transformers; changed in place.
        every: of everything that the trunk drops; None: as they are.
        attention: of attention weights, going before `every`; None: as `every` has it.

    Returns:
        The rates afterwards; empty where nothing was asked for.

    Raises:
        ConfigError: the architecture has no such dropout.
    """
    if every is None and attention is None:
        return {}
    known = dropout_rates(config)
    wanted = {name: every if attention is None or not _of_attention(name) else attention for name in known}
    changed = {name: rate for name, rate in wanted.items() if rate is not None}
    if not changed:
        option = "dropout" if every is not None else "attention_dropout"
        raise ConfigError(
            f"training.loss.{option}: models of type {config.model_type!r} have no dropout of that kind; leave it "
            "out, or use head.dropout (and, of low-rank adapters, dropout)"
        )
    for name, rate in changed.items():
        setattr(config, name, rate)
    return dropout_rates(config)


def _of_attention(name: str) -> bool:
    return name.startswith("att")
