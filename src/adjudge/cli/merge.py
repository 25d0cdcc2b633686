"""`adjudge merge`: a run's adapter folded into its base model's weights, as a run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adjudge.cli.shared.derived_table import show_derived
from adjudge.cli.shared.folders import one_run, output_folder
from adjudge.cli.shared.progress import progress

if TYPE_CHECKING:
    pass

EPILOG = """\
[bold]Examples[/]

  adjudge merge runs/reviews/lora-smollm2-135m-s0-1a2b3c4d
  adjudge merge runs/reviews/lora-smollm2-135m-s0-1a2b3c4d --dtype float32 -o merged

The merged model answers the same rows again, and the two are tested against each other."""


def merge(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the merged run.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name, beside the run. Default: RUN-merged-DTYPE.")] = None,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], typer.Option(help="Number format of the merged weights.")
    ] = "bfloat16",
) -> None:
    """Merge a run's adapter into 16-bit weights and test the result against the run."""
    from adjudge.derive.merge import merge_run

    source = one_run(run)
    with progress() as shown:
        made = merge_run(source, output_folder(source, output, name), weights=dtype, progress=shown)
    show_derived(made)
