"""`adjudge check`: the data gate, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adjudge.cli.shared.findings_table import show_pairs, show_report
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.reading import DELIMITER, FORMAT, NO_HEADER, SETTINGS, SKIP_BAD_ROWS, source_options
from adjudge.cli.shared.screen import print_json
from adjudge.core.errors import UsageError

if TYPE_CHECKING:
    from adjudge.core.task import Task

EPILOG = """\
[bold]Examples[/]

  adjudge check tasks/reviews.yaml
  adjudge check tasks/reviews.yaml --model smollm2-135m --max-tokens 512
  adjudge check --train a.csv --validation b.csv --test c.csv --text review --label rating --json
  adjudge check --train a.tsv --no-header --text column_2 --label column_1 --source quoting=none

Exit status: 0 without errors, 1 with errors, 2 for input that cannot be read."""


def check(  # noqa: PLR0913 - a command's options are its parameters
    task: Annotated[Path | None, typer.Argument(help="Task file (YAML).", show_default=False)] = None,
    train: Annotated[str | None, typer.Option(help="Training file, straight, without a task file.")] = None,
    validation: Annotated[str | None, typer.Option(help="Validation file.")] = None,
    test: Annotated[str | None, typer.Option(help="Test file.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Text column; repeat for several. Default: text.")] = None,
    label: Annotated[str | None, typer.Option(help="Label column. Default: label.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files that the task names.")] = None,
    model: Annotated[str | None, typer.Option(help="Count tokens as this model does.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest text in tokens, for the share that gets truncated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only JSON, on standard output.")] = False,
    form: Annotated[str | None, FORMAT] = None,
    delimiter: Annotated[str | None, DELIMITER] = None,
    no_header: Annotated[bool, NO_HEADER] = False,
    skip_bad_rows: Annotated[int, SKIP_BAD_ROWS] = 0,
    settings: Annotated[list[str] | None, SETTINGS] = None,
) -> int:
    """Check the data: duplicates, leaks between splits, contradictions, wrong labels, lengths and more.

    Takes a task file, whose splits are made as a run would make them, or files by --train, --validation and --test,
    which are checked as they are.
    """
    from adjudge.data.gate import GateOptions
    from adjudge.data.gate import check as run_gate
    from adjudge.data.splits import label_set, load_splits

    reading = source_options(form, delimiter, no_header, 0, settings)
    files = {"train": train, "validation": validation, "test": test}
    chosen = _task_file(task, files, text, label, reading) if task else _task_of_files(files, text, label, reading)
    base = data if data is not None else task.parent if task is not None else None
    with progress() as shown:
        assert chosen.data is not None  # noqa: S101 - a task without data has been refused
        splits = load_splits(chosen, chosen.data.allowing_bad_rows(skip_bad_rows), base=base)
        report = run_gate(
            splits,
            labels=label_set(chosen, splits["train"]) if chosen.labels else None,
            options=GateOptions(**_options(model, max_tokens, chosen.data.split_seed)),
            progress=shown,
            problem=chosen.problem,
        )
    accepted = chosen.data.accept
    if as_json:
        print_json(report.to_json())
    else:
        show_report(report, accepted)
        show_pairs(report, splits)
    return 1 if report.errors(accepted) else 0


def _task_file(
    task: Path, files: dict[str, str | None], text: list[str] | None, label: str | None, reading: dict[str, Any]
) -> Task:
    """The task of a file, beside which nothing is said that the file says."""
    from adjudge.core.task import load_task

    given: dict[str, Any] = {f"--{role}": file for role, file in files.items()}
    given |= {"--text": text, "--label": label, "how a file is read": reading}
    if surplus := [name for name, value in given.items() if value]:
        raise UsageError(f"{task}: {', '.join(surplus)} cannot be given beside a task file, which says the same")
    if task.suffix.lower() not in {".yaml", ".yml"} and task.is_file():
        raise UsageError(
            f"{task}: is no task file (*.yaml); check data straight with: adjudge check --train {task} "
            f"--text COLUMN --label COLUMN, or write a task for it with: adjudge init {task}"
        )
    loaded = load_task(task)
    if loaded.data is None:
        raise UsageError(f"{task}: data: missing; a check needs to know where the rows are")
    return loaded


def _task_of_files(
    files: dict[str, str | None], text: list[str] | None, label: str | None, reading: dict[str, Any]
) -> Task:
    """A task made from the options."""
    from adjudge.core.config import validate
    from adjudge.core.task import Task

    if files["train"] is None:
        raise UsageError("nothing to check: name a task file, or give --train FILE (see adjudge check --help)")
    sources = {role: {"path": file, **reading} for role, file in files.items() if file is not None}
    columns = text or ["text"]
    task = {
        "name": "check",
        "text": columns[0] if len(columns) == 1 else columns,
        "label": label or "label",
        "data": {**sources, "split": {"validation": 0, "test": 0}},
    }
    return validate(Task, task, "the options")


def _options(model: str | None, max_tokens: int | None, seed: int) -> dict[str, Any]:
    from adjudge.methods.tfidf import out_of_fold

    tokenizer = None
    if model is not None:
        from adjudge.models.trunk.loading import find_tokenizer

        tokenizer = find_tokenizer(model)
    return {
        "token_counter": tokenizer.count if tokenizer else None,
        "known_counter": tokenizer.count_known if tokenizer else None,
        "model": model,
        "max_tokens": max_tokens,
        "out_of_fold": out_of_fold,
        "seed": seed,
    }
