"""`adjudge merge`: a run's adapter folded into its base model's weights, as a run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from adjudge.cli.evaluate import one_run
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.screen import print_table, results
from adjudge.core.errors import UsageError

if TYPE_CHECKING:
    from adjudge.core.runs import Run

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

    found = one_run(run)
    with progress() as shown:
        made = merge_run(found, output_folder(found, output, name), weights=dtype, progress=shown)
    show_derived(made)


def output_folder(source: Run, output: Path | None, name: str | None) -> Path | None:
    """Where a run made from another goes: a folder, or a name beside its source, or None for the default.

    Raises:
        UsageError: both are given, or the name is a path.
    """
    if output is not None and name is not None:
        raise UsageError("give either --output or --name, and not both")
    if name is None:
        return output
    if Path(name).name != name:
        raise UsageError(f"--name {name}: is a path; a name goes beside the run, a folder is given by --output")
    return source.path.resolve().parent / name


def show_derived(run: Run) -> None:
    """Print how a run made from others compares with each of them, on the same rows."""
    record = run.record()
    console = results()
    columns = (
        "against",
        "rows",
        "changed",
        "accuracy",
        "difference (95%)",
        "McNemar p",
        "macro-F1",
        "difference (95%)",
    )
    rows = []
    for test in record["facts"]["paired"]:
        scores = [(test[metric], f"{test[metric]['before']:.4f} → {test[metric]['after']:.4f}") for metric in _METRICS]
        cells = [(shown, f"{one['difference']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]") for one, shown in scores]
        (accuracy, gap), (macro_f1, other_gap) = cells
        counts = (f"{test['rows']:,} {test['split']}", f"{test['changed']:,}")
        rows.append(
            [
                escape(cell)
                for cell in (test["run"], *counts, accuracy, gap, f"{test['mcnemar_p']:.3g}", macro_f1, other_gap)
            ]
        )
    print_table(console, columns, rows, numbers=columns[1:])
    trip = record["facts"]["round_trip"]
    console.print(
        f"[dim]fresh process: largest difference {trip['largest_difference']:.2g} on {trip['rows']} texts "
        f"(allowed {trip['tolerance']:g})[/]",
        soft_wrap=True,
    )
    console.print(f"run: {escape(str(run.path))}", soft_wrap=True)


_METRICS = ("accuracy", "macro_f1")
