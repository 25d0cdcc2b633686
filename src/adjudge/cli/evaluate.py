"""`adjudge evaluate`: every metric again, from the prediction files alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adjudge.cli.shared.folders import one_run
from adjudge.cli.shared.metrics_table import metrics_table
from adjudge.cli.shared.screen import complain, print_json, results

if TYPE_CHECKING:
    pass

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

    opened = one_run(run)
    computed = evaluate_run(opened)
    if as_json:
        print_json(computed)
    else:
        results().print(metrics_table(computed))
    if not check:
        return 0
    different = list(_differences(computed, opened.metrics(), ""))
    for line in different[:20]:
        complain(f"{opened.path / 'metrics.json'}: {line}")
    if len(different) > 20:
        complain(f"{opened.path / 'metrics.json'}: and {len(different) - 20} more")
    if not different:
        complain("metrics.json agrees with the prediction files", mark="checked")
    return 1 if different else 0


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
