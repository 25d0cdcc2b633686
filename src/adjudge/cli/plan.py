"""`adjudge plan`: what a recipe will take, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.running import with_model
from adjudge.cli.shared.screen import duration, print_json, print_table, results, size

if TYPE_CHECKING:
    from adjudge.foresee.estimate import Estimate

EPILOG = """\
[bold]Examples[/]

  adjudge plan recipes/reviews.yaml
  adjudge plan recipes/emotion-llama3-8b-lora.yaml --data ~/data/emotion
  adjudge plan recipes/reviews.yaml --probe --json

No model is loaded: shapes come from the model's configuration, or from the table of published models where there is \
no hub. --probe runs ten real steps of each method and replaces time and memory by what they took. Exit status 1 if a \
run does not fit into the memory that is there."""

HELD = ("weights", "gradients", "optimizer", "best", "activations", "logits", "products", "process", "loading")


def plan(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (YAML).")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value: method.rank=16. Repeatable.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files that the task names.")] = None,
    model: Annotated[str | None, typer.Option(help="Plan every method that takes a model with this one.")] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Run ten real steps of each method and measure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say what each run of a recipe will take: weights, memory against what is there, steps, tokens and time."""
    from adjudge.foresee.planning import estimate_recipe
    from adjudge.recipe.recipe import load_recipe

    loaded = load_recipe(recipe, overrides=with_model(settings, model), data_root=data)
    with progress() as shown:
        estimates = estimate_recipe(loaded, probe=probe, progress=shown)
    if as_json:
        print_json([estimate.to_json() for estimate in estimates])
    else:
        show(estimates, results())
    return 1 if any(estimate.fits is False for estimate in estimates) else 0


def show(estimates: Sequence[Estimate], console: Console) -> None:
    """Print one row for each run, then where its memory goes and what was assumed."""
    columns = ("run", "parameters", "trained", "share", "steps", "tokens", "memory", "fits", "time")
    rows = [(escape(estimate.name), *_cells(estimate)) for estimate in estimates]
    print_table(console, columns, rows, numbers=columns[1:7], widths={"run": max(len(e.name) for e in estimates)})
    for estimate in estimates:
        if estimate.memory is None and not estimate.notes:
            continue
        console.print(f"[bold]{escape(estimate.name)}[/]", soft_wrap=True)
        if estimate.memory is not None:
            held = [(name, getattr(estimate.memory, name)) for name in HELD]
            console.print("  " + " · ".join(f"[dim]{name}[/] {size(value)}" for name, value in held if value >= 1))
        for note in estimate.notes:
            console.print(f"  [dim]{escape(note)}[/]", soft_wrap=True)
    if estimates:
        console.print(f"[dim]memory that is there: {size(estimates[0].available_bytes)}[/]")


def _cells(estimate: Estimate) -> tuple[str, ...]:
    total, learning = estimate.total_parameters, estimate.trainable_parameters
    fits = {True: "[green]yes[/]", False: "[bold red]no[/]", None: "–"}[estimate.fits]
    rough = "about " if estimate.basis == "rough" else ""
    return (
        _count(total),
        _count(learning),
        "–" if not total or learning is None else f"{learning / total:.3%}",
        f"{estimate.steps:,}" if estimate.steps else "–",
        _count(estimate.tokens or None),
        "–" if estimate.memory is None else size(estimate.memory.total),
        fits,
        "–" if estimate.seconds is None else rough + duration(estimate.seconds),
    )


def _count(number: int | None) -> str:
    if number is None:
        return "–"
    for unit, divisor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= divisor:
            return f"{number / divisor:.2f}{unit}"
    return str(number)
