"""`adjudge tune`: search a recipe's options on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.running import with_model
from adjudge.cli.shared.screen import notices, print_table, results

if TYPE_CHECKING:
    from adjudge.core.studies import StudyRecord

EPILOG = """\
[bold]Examples[/]

  adjudge tune recipes/reviews.yaml --trials 20
  adjudge tune recipes/reviews.yaml --method lora --trials 40 --jobs 2
  adjudge tune recipes/reviews.yaml --timeout 3600

Trials are judged by macro-F1 on validation; the test split is neither read nor predicted. Called again, a search \
goes on: --trials counts those that are there. The best options are written as RECIPE-tuned.yaml beside the recipe, \
and the history as runs/<recipe>/tune/report.html."""


def tune(  # noqa: PLR0913 - a command's options
    recipe: Annotated[Path, typer.Argument(help="Recipe file (YAML).")],
    trials: Annotated[int, typer.Option(min=1, help="Complete or pruned trials that each study shall have.")] = 30,
    study: Annotated[str, typer.Option(help="Name of the studies; another name starts anew.")] = "study",
    jobs: Annotated[int, typer.Option(min=1, help="Processes that try options at the same time.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which no trial of a study begins.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Tune this method of the recipe alone.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampler.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value: method.rank=16. Repeatable.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data files that the task names.")] = None,
    model: Annotated[str | None, typer.Option(help="Tune every method that takes a model with this one.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> int:
    """Search the options of a recipe's methods on validation data and write the best as a recipe."""
    from adjudge.compare.search import write_search
    from adjudge.core.atomic import write_json
    from adjudge.experiment.tune import Search, tune_recipe
    from adjudge.recipe.recipe import load_recipe
    from adjudge.recipe.tuned_recipe import write_tuned

    loaded = load_recipe(recipe, overrides=with_model(settings, model), data_root=data)
    search = Search(trials, study, jobs, timeout, seed, method)
    with progress() as shown:
        studies = tune_recipe(loaded, search, runs=runs, progress=shown)
    folder = runs / loaded.name / "tune"
    write_json(folder / "study.json", {"studies": [record.to_json() for record in studies]})
    write_search(folder / "report.html", loaded.name, studies)
    show(studies, results())
    if all(record.best is None for record in studies):
        notices().print("[bold red]no trial is complete[/]; see the report for what failed")
        return 1
    tuned = recipe.with_name(f"{recipe.stem}-tuned.yaml")
    write_tuned(loaded, studies, tuned)
    notices().print(f"[dim]report: {escape(str(folder / 'report.html'))}[/]", soft_wrap=True)
    notices().print(f"[dim]next: adjudge run {escape(str(tuned))}[/]", soft_wrap=True)
    return 0


def show(studies: Sequence[StudyRecord], console: Console) -> None:
    """Print one row for each study: its best value and options, and how many trials it took."""
    columns = ("method", "trials", "pruned", "failed", "macro-F1 (validation)", "best options")
    rows = []
    for study in studies:
        best = study.best_trial
        counts = [sum(trial.state == state for trial in study.trials) for state in ("complete", "pruned", "failed")]
        options = {} if best is None else best.options
        rows.append(
            (
                escape(study.method if study.model is None else f"{study.method} {study.model}"),
                *map(str, counts),
                "–" if best is None else f"{best.value:.4f}",
                escape(", ".join(f"{name}={_short(value)}" for name, value in options.items())),
            )
        )
    print_table(console, columns, rows, numbers=columns[1:5])


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
