"""What a method costs: names, units and words of the numbers under ``cost`` in run.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adjudge.core.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Cost:
    """A cost: its words for tables (with the unit) and for sentences, and how a value is written."""

    title: str
    phrase: str
    write: Callable[[float], str]


def _seconds(value: float) -> str:
    if value >= 3600:
        return f"{value / 3600:.1f} h"
    if value >= 120:
        return f"{value / 60:.1f} min"
    if value < 1:
        return f"{_significant(1000 * value)} ms"
    return f"{_significant(value)} s"


def _bytes(value: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{_significant(value / size)} {unit}"
    return f"{value:.0f} B"


def _count(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{_significant(value / size)} {unit}"
    return f"{value:.0f}"


def _significant(value: float) -> str:
    """Three significant digits without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 5)}f}"


COSTS: Mapping[str, Cost] = {
    "prediction_seconds_per_1000_rows": Cost("prediction per 1,000 rows", "prediction time", _seconds),
    "train_seconds": Cost("training", "training time", _seconds),
    "prediction_seconds": Cost("prediction of the test rows", "prediction time", _seconds),
    "train_tokens": Cost("tokens trained on", "training tokens", _count),
    "peak_memory_bytes": Cost("peak memory", "peak memory", _bytes),
    "disk_bytes": Cost("size on disk", "size on disk", _bytes),
    "trainable_parameters": Cost("trainable parameters", "number of trainable parameters", _count),
    "total_parameters": Cost("parameters", "number of parameters", _count),
}


def cost_named(name: str) -> Cost:
    """The cost of this name.

    Raises:
        ConfigError: there is none; the message lists the names and the nearest one.
    """
    if name not in COSTS:
        raise ConfigError(f"cost {name!r} is not measured; {did_you_mean(name, COSTS)}")
    return COSTS[name]


def write_cost(name: str, value: float | None) -> str:
    """A cost with its unit; a dash where it was not measured."""
    return "–" if value is None else cost_named(name).write(value)


def mean_costs(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Every cost as the mean over runs; None where one of them does not have it."""
    means: dict[str, float | None] = {}
    for name in COSTS:
        values = [(record.get("cost") or {}).get(name) for record in records]
        known = [float(value) for value in values if value is not None]
        means[name] = sum(known) / len(known) if known and len(known) == len(values) else None
    return means


def ratio_phrase(cost: float, reference: float, phrase: str) -> str:
    """``at 1/20 of its prediction time``: one cost beside the reference's, in words."""
    if math.isinf(reference):
        return f"and the reference's {phrase} was not measured"
    if reference <= 0:
        return f"at a {phrase} of {cost:g} against none"
    if cost <= 0:
        return f"at none of its {phrase}"
    share = cost / reference
    if share <= 0.5:
        return (
            f"at 1/{1 / share:,.0f} of its {phrase}" if 1 / share >= 9.5 else f"at 1/{1 / share:.2g} of its {phrase}"
        )
    if share <= 1.5:
        return f"at {share:.0%} of its {phrase}"
    return f"at {share:.2g} times its {phrase}" if share < 9.5 else f"at {share:,.0f} times its {phrase}"
