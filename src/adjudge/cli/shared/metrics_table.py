"""The headline numbers of a run, one row each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.markup import escape

from adjudge.cli.shared.screen import table


def metrics_table(metrics: dict[str, Any]) -> Any:
    """The headline numbers of each split, with their intervals where there are any."""
    names = (
        *("accuracy", "macro_f1", "micro_f1", "weighted_f1", "balanced_accuracy", "hamming_loss", "mcc"),
        *("log_loss", "brier", "ece"),
    )
    splits = [split for split in ("validation", "test") if split in metrics]
    rows = [
        (escape(name), *(_with_interval(metrics[split], name) for split in splits))
        for name in names
        if any(name in metrics[split] for split in splits)
    ]
    if any(metrics[split].get("unparsed") for split in splits):
        rows.append(("unparsed replies", *(_unparsed(metrics[split]) for split in splits)))
    rows += _tree_rows([metrics[split] for split in splits])
    return table(("metric", *splits), rows, numbers=splits)


def _tree_rows(metrics: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Of a tree: accuracy and macro-F1 of each level, and the hierarchical precision, recall and F1."""
    for at, level in enumerate(metrics[0].get("levels", ())):
        for name in ("accuracy", "macro_f1"):
            shown = (_with_interval(one["levels"][at], name) for one in metrics)
            yield (f"level {level['level']} {name}", *shown)
    for name in metrics[0].get("hierarchical", ()):
        yield (f"hierarchical {name}", *(f"{one['hierarchical'][name]:.4f}" for one in metrics))


def _unparsed(metrics: dict[str, Any]) -> str:
    count, rows = metrics.get("unparsed", 0), metrics["n"]
    return f"{count:,} of {rows:,} ({count / rows:.1%})"


def _with_interval(metrics: dict[str, Any], name: str) -> str:
    value = metrics.get(name)
    if value is None:
        return "–"
    interval = metrics.get("intervals", {}).get(name)
    shown = f"{value:.4f}"
    if isinstance(interval, dict):
        interval = [interval.get("low"), interval.get("high")]
    if interval and None not in interval:
        low, high = interval[0], interval[1]
        shown += f" \\[{low:.4f}, {high:.4f}]"
    return shown
