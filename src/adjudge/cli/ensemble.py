"""`adjudge ensemble`: several runs vote, as a run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adjudge.cli.shared.derived_table import show_derived
from adjudge.cli.shared.folders import output_folder
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.screen import results

EPILOG = """\
[bold]Examples[/]

  adjudge ensemble runs/reviews/tfidf-s0-1a2b3c4d runs/reviews/full-minilm-l6-s0-5e6f7a8b
  adjudge ensemble runs/reviews/lora-* --weights validation --name lora-vote

Calibrated probabilities are averaged. The runs must have the same labels and the same rows."""


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, two or more.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new run.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name, beside the first run. Default: ensemble-HASH.")] = None,
    weights: Annotated[
        Literal["equal", "validation"], typer.Option(help="Equal, or those that fit the validation labels best.")
    ] = "equal",
) -> None:
    """Average the probabilities of several runs and test the vote against each of them."""
    from adjudge.core.runs import find_runs
    from adjudge.derive.vote import ensemble_runs

    members = find_runs(runs)
    with progress() as shown:
        made = ensemble_runs(members, output_folder(members[0], output, name), weighting=weights, progress=shown)
    shares = zip(made.record()["facts"]["members"], made.record()["facts"]["weights"], strict=True)
    for member, weight in shares:
        results().print(f"{weight:.3f}  {member}", markup=False, soft_wrap=True)
    show_derived(made)
