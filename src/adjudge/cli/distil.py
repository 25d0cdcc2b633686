"""`adjudge distil`: a small model learns from a run's probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adjudge.cli.shared.derived_table import show_derived
from adjudge.cli.shared.folders import one_run, output_folder
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.reading import (
    DELIMITER,
    FORMAT,
    NO_HEADER,
    SETTINGS,
    SKIP_BAD_ROWS,
    source_of,
    source_options,
)
from adjudge.cli.shared.screen import duration, print_table, results, size

EPILOG = """\
[bold]Examples[/]

  adjudge distil runs/reviews/lora-smollm2-135m-s0-1a2b3c4d unlabelled.csv
  adjudge distil runs/reviews/lora-smollm2-135m-s0-1a2b3c4d train.csv --set training.epochs=5 --name small

Rows that have a label of the task learn from it too. Texts of the run's validation and test rows are left out."""


def distil(  # noqa: PLR0913 - a command's options are its parameters
    run: Annotated[Path, typer.Argument(help="Run folder of the teacher.")],
    texts: Annotated[str, typer.Argument(help="File of texts, labelled or not.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the student's run.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name, beside the teacher.")] = None,
    method: Annotated[str, typer.Option(help="The student's method; it must train a network.")] = "full",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the method: model=minilm-l6. Repeatable.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=1.0, help="Softens teacher and student.")] = 2.0,
    gold_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of a label in its row's loss.")] = 0.5,
    text_column: Annotated[
        list[str] | None, typer.Option(help="Text column of the file. Default: the task's. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the student.")] = 0,
    form: Annotated[str | None, FORMAT] = None,
    delimiter: Annotated[str | None, DELIMITER] = None,
    no_header: Annotated[bool, NO_HEADER] = False,
    skip_bad_rows: Annotated[int, SKIP_BAD_ROWS] = 0,
    reading: Annotated[list[str] | None, SETTINGS] = None,
) -> None:
    """Train a small student on a run's probabilities and show what it kept at what cost."""
    from adjudge.derive.distil import DistilOptions, distil_run, kept

    teacher = one_run(run)
    options = DistilOptions(method, tuple(settings or ()), temperature, gold_share, tuple(text_column or ()), seed)
    source = source_of(texts, source_options(form, delimiter, no_header, skip_bad_rows, reading))
    with progress() as shown:
        made = distil_run(teacher, source, output_folder(teacher, output, name), options, progress=shown)
    columns = ("", "run", "accuracy", "macro-F1", "prediction, 1,000 rows", "size", "parameters")
    rows = [
        (
            one["role"],
            escape(one["run"]),
            f"{one['accuracy']:.4f}",
            f"{one['macro_f1']:.4f}",
            duration(one["seconds_per_1000_rows"]),
            size(one["disk_bytes"]),
            "–" if one["total_parameters"] is None else f"{one['total_parameters'] / 1e6:,.1f} M",
        )
        for one in kept(made, teacher)
    ]
    print_table(results(), columns, rows, numbers=columns[2:])
    show_derived(made)
