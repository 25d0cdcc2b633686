"""`adjudge import`: a model, an adapter, annotations or fine-tuning data of another program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from adjudge.cli.shared.metrics_table import metrics_table
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.screen import complain, results, shorten
from adjudge.core.errors import UsageError, did_you_mean

FORMS = ("label-studio", "label-studio-table", "prodigy", "argilla", "spacy", "doccano", "weak")

if TYPE_CHECKING:
    from adjudge.data.task_files import ImportedData

EPILOG = """\
[bold]Examples[/]

  adjudge import sentiment-roberta --task tasks/reviews.yaml -o runs/reviews/roberta
  adjudge import my-lora --task tasks/reviews.yaml -o runs/reviews/my-lora --base smollm2-135m
  adjudge import project-7.json -o tasks                        an export of an annotation tool
  adjudge import argilla.json -o tasks --label sentiment --text review
  adjudge import training.jsonl -o tasks                        fine-tuning data
  adjudge import LLaMA-Factory/data/dataset_info.json -o tasks --name my_reviews

A folder is a model (AutoModelForSequenceClassification) or a PEFT adapter, in safetensors; it becomes a run. A file \
becomes a task and its rows: an export of Label Studio (JSON, JSON-MIN, CSV), doccano, Prodigy, Argilla or spaCy, a \
table of weak supervision (-1 abstains), OpenAI fine-tuning data or a dataset_info.json. What people rejected, \
ignored or left open is left out and counted; of several answers to a text the most frequent one is taken."""


def import_(  # noqa: PLR0913 - a command's options are its parameters
    source: Annotated[Path, typer.Argument(help="Folder of a model or an adapter; file of annotations or rows.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new run, or for task and rows.")],
    task: Annotated[Path | None, typer.Option(help="Task file, with its data (for a folder).")] = None,
    base: Annotated[str | None, typer.Option(help="An adapter's base model, if not the one that it names.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="Longest text or prompt. Default: at most 512.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files that the task names.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the task; entry of a dataset_info.json.")] = None,
    form: Annotated[
        str | None, typer.Option("--from", help=f"Kind of export. Default: by its content. {', '.join(FORMS)}")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Field of an export that holds the text. Default: found.")] = None,
    label: Annotated[
        str | None, typer.Option(help="Question, control or column of the label. Default: the only one.")
    ] = None,
) -> None:
    """Import a trained model as a run, or an annotation tool's export or fine-tuning data as a task."""
    if source.is_file():
        if task or base or max_tokens or data:
            raise UsageError(f"{source}: is a file of rows; --task, --base, --max-tokens and --data are for models")
        _import_data(source, output, name, form, (text, label))
        return
    if task is None or name is not None:
        raise UsageError(f"{source}: a model or an adapter needs --task, and no --name")
    if form or text or label:
        raise UsageError(f"{source}: --from, --text and --label are for files of rows")
    _import_model(source, task, output, base=base, max_tokens=max_tokens, data=data)


def _import_data(
    source: Path, output: Path, name: str | None, form: str | None, fields: tuple[str | None, str | None]
) -> None:
    from adjudge.data.annotations.annotated import Wanted
    from adjudge.data.importing import import_data

    if form is not None and form not in FORMS:
        raise UsageError(f"--from {form}: no such export; {did_you_mean(form, FORMS)}")
    show_imported(import_data(source, output, name=name, form=form, wanted=Wanted(*fields)))


def show_imported(made: ImportedData, wrote: Sequence[str] = ()) -> None:
    """Print what an import wrote, and what else was written for it."""
    console = results()
    shown = ", ".join(shorten(label) for label in made.labels[:8]) + (", …" if len(made.labels) > 8 else "")
    for line in (
        f"{f'{made.form}: ' if made.form else ''}{made.rows:,} rows, {len(made.labels)} labels: {shown}",
        f"wrote {made.task} and {made.rows_file}",
        *wrote,
        f"next: adjudge check {made.task}",
    ):
        console.print(escape(line), soft_wrap=True)
    for note in made.notes:
        complain(note, mark="note")


def _import_model(
    source: Path, task: Path, output: Path, *, base: str | None, max_tokens: int | None, data: Path | None
) -> None:
    from adjudge.derive.adopt import import_run

    with progress() as shown:
        made = import_run(source, task, output, base=base, max_tokens=max_tokens, data_root=data, progress=shown)
    console = results()
    console.print(metrics_table(made.metrics()))
    console.print(f"run: {escape(str(made.path))}", soft_wrap=True)
