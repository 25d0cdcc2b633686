"""`adjudge import`: a model, an adapter or fine-tuning data of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adjudge.cli.evaluate import metrics_table
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.screen import results, shorten
from adjudge.core.errors import UsageError

EPILOG = """\
[bold]Examples[/]

  adjudge import sentiment-roberta --task tasks/reviews.yaml -o runs/reviews/roberta
  adjudge import my-lora --task tasks/reviews.yaml -o runs/reviews/my-lora --base smollm2-135m
  adjudge import training.jsonl -o tasks
  adjudge import LLaMA-Factory/data/dataset_info.json -o tasks --name my_reviews

A folder is a model (AutoModelForSequenceClassification) or a PEFT adapter, in safetensors; it becomes a run. A file \
is OpenAI fine-tuning data or a dataset_info.json; it becomes a task and its rows."""


def import_(
    source: Annotated[Path, typer.Argument(help="Folder of a model or an adapter; file of fine-tuning data.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new run, or for task and rows.")],
    task: Annotated[Path | None, typer.Option(help="Task file, with its data (for a folder).")] = None,
    base: Annotated[str | None, typer.Option(help="An adapter's base model, if not the one that it names.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="Longest text or prompt. Default: at most 512.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files that the task names.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the task; entry of a dataset_info.json.")] = None,
) -> None:
    """Import a trained model as a run, or another program's fine-tuning data as a task."""
    if source.is_file():
        if task or base or max_tokens or data:
            raise UsageError(
                f"{source}: is a file of fine-tuning data; --task, --base, --max-tokens and --data are for models"
            )
        _import_data(source, output, name)
        return
    if task is None or name is not None:
        raise UsageError(f"{source}: a model or an adapter needs --task, and no --name")
    _import_model(source, task, output, base=base, max_tokens=max_tokens, data=data)


def _import_data(source: Path, output: Path, name: str | None) -> None:
    from adjudge.data.finetuning import import_finetuning

    made, console = import_finetuning(source, output, name=name), results()
    shown = ", ".join(shorten(label) for label in made.labels[:8]) + (", …" if len(made.labels) > 8 else "")
    for line in (
        f"{made.rows:,} rows, {len(made.labels)} labels: {shown}",
        f"wrote {made.task} and {made.rows_file}",
        f"next: adjudge check {made.task}",
    ):
        console.print(escape(line), soft_wrap=True)


def _import_model(
    source: Path, task: Path, output: Path, *, base: str | None, max_tokens: int | None, data: Path | None
) -> None:
    from adjudge.derive.adopt import import_run

    with progress() as shown:
        made = import_run(source, task, output, base=base, max_tokens=max_tokens, data_root=data, progress=shown)
    console = results()
    console.print(metrics_table(made.metrics()))
    console.print(f"run: {escape(str(made.path))}", soft_wrap=True)
