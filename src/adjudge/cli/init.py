"""`adjudge init`: from a data file to a task and a recipe that run unedited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adjudge.cli.shared.screen import complain, results, shorten

EPILOG = """\
[bold]Examples[/]

  adjudge init reviews.csv
  adjudge init export.xlsx --text body --label category --name tickets

Writes tasks/NAME.yaml (what is decided, where the rows are) and recipes/NAME.yaml (all six methods, with a time \
estimate). Files that are there are never overwritten. An export of an annotation tool is imported first, as \
adjudge import does: tasks/NAME.jsonl holds its rows."""


def init(
    file: Annotated[Path, typer.Argument(help="Data file: CSV, TSV, JSON, JSON lines, Parquet, Arrow, Excel.")],
    text: Annotated[str | None, typer.Option(help="Text column. Default: found.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label column; repeat for columns of 0 and 1. Default: found.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of task and recipe. Default: the file's.")] = None,
    folder: Annotated[Path, typer.Option(help="Where tasks/ and recipes/ go.")] = Path(),
) -> None:
    """Look at a data file and write a task and a recipe for it."""
    from adjudge.data.importing import needs_import
    from adjudge.recipe.starter import shown_minutes, write_starter

    if needs_import(file):
        _from_export(file, folder, name, text, label[0] if label else None)
        return
    columns = label[0] if label and len(label) == 1 else label
    made = write_starter(file, folder=folder, name=name, text=text, label=columns or None)
    shown = ", ".join(shorten(label) for label in made.labels[:8]) + (", …" if len(made.labels) > 8 else "")
    identity = f", row id {made.id!r}" if made.id else ""
    console = results()
    for line in (
        f"{made.rows:,} rows: text {made.text!r}, label {made.label!r} ({len(made.labels)}: {shown}){identity}",
        f"wrote {made.task}",
        f"wrote {made.recipe} (all six methods: {shown_minutes(sum(made.minutes.values()))} on this machine)",
        f"next: adjudge check {made.task}",
        f"      adjudge run {made.recipe}",
    ):
        console.print(escape(line), soft_wrap=True)
    for note in made.notes:
        complain(note, mark="note")


def _from_export(file: Path, folder: Path, name: str | None, text: str | None, label: str | None) -> None:
    """Write the rows of an annotation tool's export as well, as `adjudge import` does."""
    from adjudge.cli.import_ import show_imported
    from adjudge.data.annotations.annotated import Wanted
    from adjudge.experiment.starter_export import write_export_starter
    from adjudge.recipe.starter import shown_minutes

    made = write_export_starter(file, folder=folder, name=name, wanted=Wanted(text, label))
    minutes = shown_minutes(sum(made.minutes.values()))
    show_imported(made.imported, [f"wrote {made.recipe} (all six methods: {minutes} on this machine)"])
