"""`adjudge evaluate`: every metric again, from the prediction files alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adjudge.cli.shared.screen import complain, print_json, results, table
from adjudge.core.errors import UsageError

if TYPE_CHECKING:
    from adjudge.core.runs import Run

EPILOG = """\
[bold]Examples[/]

  adjudge evaluate runs/reviews/tfidf-s0-1a2b3c4d
  adjudge evaluate runs/reviews/tfidf-s0-1a2b3c4d --check     fails if metrics.json says something else
  adjudge evaluate runs/reviews/tfidf-s0-1a2b3c4d --json

Nothing but the prediction files and the label set in run.json is read."""

TOLERANCE = 1e-9


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    check: Annotated[bool, typer.Option("--check", help="Compare with metrics.json; exit 1 if they differ.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every metric as JSON, on standard output.")] = False,
) -> int:
    """Recompute the metrics of a run from its prediction files. Reads no model and writes nothing."""
    from adjudge.evaluate.predictions import evaluate_run

    found = one_run(run)
    computed = evaluate_run(found)
    if as_json:
        print_json(computed)
    else:
        results().print(metrics_table(computed))
    if not check:
        return 0
    different = list(_differences(computed, found.metrics(), ""))
    for line in different[:20]:
        complain(f"{found.path / 'metrics.json'}: {line}")
    if len(different) > 20:
        complain(f"{found.path / 'metrics.json'}: and {len(different) - 20} more")
    if not different:
        complain("metrics.json agrees with the prediction files", mark="checked")
    return 1 if different else 0


def one_run(path: Path) -> Run:
    """The run at a path.

    Raises:
        UsageError: the path holds several runs.
        DataError: it holds none.
    """
    from adjudge.core.runs import find_runs

    found = find_runs([path])
    if len(found) > 1:
        names = ", ".join(run.name for run in found[:10])
        raise UsageError(f"{path}: holds {len(found)} runs; name one of them: {names}")
    return found[0]


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


def _differences(computed: Any, stored: Any, where: str) -> Iterator[str]:
    """Every place where two JSON values differ, numbers compared within `TOLERANCE`."""
    if isinstance(computed, dict) and isinstance(stored, dict):
        for key in sorted(computed.keys() | stored.keys(), key=str):
            place = f"{where}.{key}" if where else str(key)
            if key not in stored or key not in computed:
                yield f"{place}: only {'computed' if key in computed else 'stored'}"
            else:
                yield from _differences(computed[key], stored[key], place)
    elif isinstance(computed, list | tuple) and isinstance(stored, list | tuple):
        if len(computed) != len(stored):
            yield f"{where}: {len(stored)} values stored, {len(computed)} computed"
            return
        for index, (one, other) in enumerate(zip(computed, stored, strict=True)):
            yield from _differences(one, other, f"{where}[{index}]")
    elif isinstance(computed, float | int) and isinstance(stored, float | int):
        if not math.isclose(computed, stored, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield f"{where}: stored {stored}, computed {computed}"
    elif computed != stored:
        yield f"{where}: stored {stored!r}, computed {computed!r}"
