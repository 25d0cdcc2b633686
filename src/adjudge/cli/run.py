"""`adjudge run`: every method × model × seed of a recipe, each into its own folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from adjudge.cli.shared.reading import SKIP_BAD_ROWS
from adjudge.cli.shared.running import STYLES, execute, with_model
from adjudge.cli.shared.screen import complain, duration, notices, print_table, results

if TYPE_CHECKING:
    from adjudge.experiment.runner import Outcome

EPILOG = """\
[bold]Examples[/]

  adjudge run recipes/reviews.yaml
  adjudge run recipes/emotion-cpu.yaml --data ~/data/emotion
  adjudge run recipes/emotion-llama3-8b-lora.yaml --model smollm2-135m
  adjudge run recipes/reviews.yaml --set method.training.learning_rate=1e-4 --set seeds='\\[0, 1, 2]'
  adjudge run recipes/reviews.yaml --resume
  adjudge run recipes/reviews-june.yaml --from runs/reviews/lora-smollm2-135m-s0-1a2b3c4d

Runs that are complete with the same config are skipped; one that failed does not stop the others (exit status 1 at \
the end). Ctrl-C marks the run interrupted; with --resume its training goes on from the last checkpoint, without \
it the run starts anew."""


def run(  # noqa: PLR0913 - a command's options are its parameters
    recipe: Annotated[Path, typer.Argument(help="Recipe file (YAML).")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value: method.rank=16. Repeatable.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files that the task names.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    model: Annotated[str | None, typer.Option(help="Run every method that takes a model with this one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of interrupted runs.")] = False,
    start: Annotated[
        Path | None, typer.Option("--from", help="A complete run whose trained model is trained on.")
    ] = None,
    skip_bad_rows: Annotated[int, SKIP_BAD_ROWS] = 0,
) -> int:
    """Run a recipe: check the data once, then fit, predict, save and verify every method × model × seed."""
    from adjudge.experiment.joint import is_joint, load_joint
    from adjudge.recipe.recipe import load_recipe

    load = load_joint if is_joint(recipe) else load_recipe
    loaded = load(recipe, overrides=with_model(settings, model), data_root=data).allowing_bad_rows(skip_bad_rows)
    outcomes = execute(loaded, runs, resume=resume, start=start)
    show_outcomes(outcomes, results())
    if start is not None:
        show_forgetting(outcomes, notices())
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        complain(f"{outcome.planned.name}: {outcome.error}")
    if len(failed) < len(outcomes):
        for folder in _folders(outcomes):
            notices().print(f"[dim]next: adjudge compare {escape(str(folder))} --report report.html[/]")
    return 1 if failed else 0


def show_outcomes(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print one row for each run: how it ended, its test (or validation) scores and its costs."""
    columns = ("run", "status", "accuracy", "macro-F1", "train", "prediction, 1,000 rows")
    folders = _folders(outcomes)
    shown = [
        outcome.planned.name if len(folders) == 1 else f"{outcome.folder.parent.name}/{outcome.planned.name}"
        for outcome in outcomes
    ]
    rows = [
        (
            escape(name),
            f"[{STYLES[outcome.status]}]{outcome.status}[/]",
            *(("–",) * 4 if outcome.status == "failed" else _numbers(outcome)),
        )
        for name, outcome in zip(shown, outcomes, strict=True)
    ]
    print_table(console, columns, rows, numbers=columns[2:], widths={"run": max(map(len, shown), default=0)})
    for folder in folders:
        console.print(f"[dim]runs: {escape(str(folder))}/[/]", soft_wrap=True)


def _folders(outcomes: Sequence[Outcome]) -> list[Path]:
    """Where the runs are: one folder, or one for each task."""
    return list(dict.fromkeys(outcome.folder.parent for outcome in outcomes))


def show_forgetting(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print what each run that trained an older one on has lost or won on the older one's test rows."""
    from adjudge.core.runs import Run

    for outcome in outcomes:
        found = {} if outcome.status == "failed" else Run(outcome.folder).record()["facts"].get("forgetting", {})
        if "message" in found:
            console.print(f"[dim]old test rows: {escape(found['message'])}[/]", soft_wrap=True)
        elif found:
            score = found["accuracy"]
            console.print(
                f"[dim]old test rows ({found['rows']:,}): accuracy {score['before']:.4f} before, {score['after']:.4f} "
                f"after; 95% interval of the difference {score['low']:+.4f} to {score['high']:+.4f}, "
                f"McNemar p = {found['mcnemar_p']:.3g}[/]",
                soft_wrap=True,
            )


def _numbers(outcome: Outcome) -> tuple[str, str, str, str]:
    from adjudge.core.runs import Run

    run = Run(outcome.folder)
    metrics, cost = run.metrics(), run.record()["cost"]
    split = "test" if "test" in metrics else "validation"
    scores: dict[str, Any] = metrics[split]
    each = cost.get("prediction_seconds_per_1000_rows")
    mark = "" if split == "test" else " (validation)"
    return (
        f"{scores['accuracy']:.4f}{mark}",
        f"{scores['macro_f1']:.4f}{mark}",
        duration(cost["train_seconds"]),
        "–" if each is None else duration(each),
    )
