"""`adjudge init`: from a data file to a task and a recipe that run unedited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adjudge.cli.shared.reading import (
    DELIMITER,
    FORMAT,
    NO_HEADER,
    SETTINGS,
    SKIP_BAD_ROWS,
    source_of,
    source_options,
)
from adjudge.cli.shared.screen import complain, results, shorten

EPILOG = """\
[bold]Examples[/]

  adjudge init reviews.csv
  adjudge init export.xlsx --text body --label category --name tickets
  adjudge init train.csv --no-header --text column_2 --text column_3 --label column_1 --names classes.txt
  adjudge init train_text.txt --label-file train_labels.txt
  adjudge init corpus.tsv --format tsv --source quoting=none --skip-bad-rows 10

Writes tasks/NAME.yaml (what is decided, where the rows are) and recipes/NAME.yaml (all six methods, with a time \
estimate). Files that are there are never overwritten. An export of an annotation tool is imported first, as \
adjudge import does: tasks/NAME.jsonl holds its rows."""


def init(  # noqa: PLR0913 - a command's options are its parameters
    file: Annotated[str, typer.Argument(help="Data file of any format, or a folder with a folder of texts a class.")],
    text: Annotated[list[str] | None, typer.Option(help="Text column; repeat for several. Default: found.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label column; repeat for columns of 0 and 1. Default: found.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of task and recipe. Default: the file's.")] = None,
    folder: Annotated[Path, typer.Option(help="Where tasks/ and recipes/ go.")] = Path(),
    names: Annotated[
        Path | None, typer.Option(help="File with the names of the classes, where labels are numbers.")
    ] = None,
    label_file: Annotated[
        str | None, typer.Option(help="Labels, one a line, where the data file holds a text a line.")
    ] = None,
    form: Annotated[str | None, FORMAT] = None,
    delimiter: Annotated[str | None, DELIMITER] = None,
    no_header: Annotated[bool, NO_HEADER] = False,
    skip_bad_rows: Annotated[int, SKIP_BAD_ROWS] = 0,
    settings: Annotated[list[str] | None, SETTINGS] = None,
) -> None:
    """Look at a data file and write a task and a recipe for it."""
    from adjudge.data.importing import needs_import
    from adjudge.recipe.minutes import shown_minutes
    from adjudge.recipe.starter import write_starter

    options = source_options(form, delimiter, no_header, skip_bad_rows, settings)
    if label_file is not None:
        options["label_file"] = label_file
    if not options and Path(file).is_file() and needs_import(Path(file)):
        _from_export(Path(file), folder, name, text[0] if text else None, label[0] if label else None)
        return
    source = source_of(file, options)
    columns = label[0] if label and len(label) == 1 else label
    made = write_starter(source, folder=folder, name=name, text=text or (), label=columns or None, names=names)
    shown = ", ".join(shorten(label) for label in made.labels[:8]) + (", …" if len(made.labels) > 8 else "")
    identity = f", row id {made.id!r}" if made.id else ""
    several = "several of " if made.several else ""
    texts = repr(made.text) if isinstance(made.text, str) else ", ".join(map(repr, made.text))
    console = results()
    for line in (
        f"{made.rows:,} rows: text {texts}, label {made.label!r} ({several}{len(made.labels)}: {shown}){identity}",
        f"wrote {made.task}",
        f"wrote {made.recipe} ({_methods(made.several)}: {shown_minutes(sum(made.minutes.values()))} on this machine)",
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
    from adjudge.recipe.export_starter import write_export_starter
    from adjudge.recipe.minutes import shown_minutes

    made = write_export_starter(file, folder=folder, name=name, wanted=Wanted(text, label))
    minutes = shown_minutes(sum(made.minutes.values()))
    show_imported(made.imported, [f"wrote {made.recipe} (all six methods: {minutes} on this machine)"])


def _methods(several: bool) -> str:
    return "the five methods that give several labels" if several else "all six methods"
