"""`adjudge combine`: several adapters on one base model as one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adjudge.cli.shared.comparison_table import show_comparison
from adjudge.cli.shared.derived_table import show_derived
from adjudge.cli.shared.folders import output_folder
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.screen import results
from adjudge.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from adjudge.models.derive.combining import How

EPILOG = """\
[bold]Examples[/]

  adjudge combine runs/reviews/lora-s0 runs/reviews/lora-s1 --how linear --how ties --how dare_linear

The runs must share base model, prompt, labels and rows. Each way gives a run; the table compares them all."""


def combine(
    runs: Annotated[list[Path], typer.Argument(help="Run folders with LoRA adapters, two or more.")],
    how: Annotated[
        list[str] | None,
        typer.Option(help="linear, ties, dare_linear or dare_ties. Repeatable. Default: linear."),
    ] = None,
    weight: Annotated[
        list[float] | None, typer.Option(help="Weight of each run, in order. Default: equal. Repeatable.")
    ] = None,
    density: Annotated[float, typer.Option(help="Share of entries kept by TIES and DARE.")] = 0.5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the new run (one way only).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name, beside the first run (one way only).")] = None,
) -> None:
    """Combine adapters, measure the results on the same rows and compare them with the runs."""
    from adjudge.compare.comparison import compare_runs
    from adjudge.compare.results import CompareOptions
    from adjudge.core.runs import find_runs
    from adjudge.derive.combine import combine_runs

    ways = _ways(how or ["linear"])
    if len(ways) > 1 and (output or name):
        raise UsageError("--output and --name take one way of combining; leave them out, or give one --how")
    sources, made = find_runs(runs), []
    with progress() as shown:
        for way in ways:
            folder = output_folder(sources[0], output, name)
            made.append(combine_runs(sources, way, folder, weights=weight, density=density, progress=shown))
    for run in made:
        show_derived(run)
    if "test" in made[0].metrics():
        show_comparison(compare_runs([*sources, *made], CompareOptions()), results())


def _ways(given: list[str]) -> list[How]:
    from adjudge.models.derive.combining import HOWS

    known = {str(way): way for way in HOWS}
    for way in given:
        if way not in known:
            raise UsageError(f"--how {way}: unknown; {did_you_mean(way, known)}")
    return [known[way] for way in dict.fromkeys(given)]
