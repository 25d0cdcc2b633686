"""`adjudge demo`: the whole job on real reviews with real small models: check, six methods, comparison, report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adjudge.cli.shared.comparison_table import show_comparison
from adjudge.cli.shared.findings_table import show_report
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.running import execute
from adjudge.cli.shared.screen import complain, notices, results
from adjudge.core.errors import DataError

if TYPE_CHECKING:
    from adjudge.recipe.recipe import LoadedRecipe

EPILOG = """\
[bold]Examples[/]

  adjudge demo                               drug reviews that come as a package; no network needed
  adjudge demo --short                       fewer rows and one epoch, for a first look
  adjudge demo --data hf://dair-ai/emotion   a data set of the Hugging Face hub

Three steps, each shown: check, run, compare. Afterwards the runs can be shown, compared and predicted with."""

SHORT = (
    ("data.sample={train: 120, validation: 60, test: 100}", "120 train, 60 validation and 100 test rows"),
    ("method.training.epochs=1", "one epoch of every training"),
)
HUB_SAMPLE = {"train": 2000, "validation": 400, "test": 500}


def demo(
    short: Annotated[bool, typer.Option("--short", help="Fewer rows, fewer epochs; says what it cut.")] = False,
    data: Annotated[
        str | None, typer.Option(help="Another data set with columns text and label: hf://owner/name.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.html"),
) -> int:
    """Do the main job once: check the data, adapt models in six ways, compare them, choose, report."""
    from adjudge.compare.comparison import compare_runs
    from adjudge.compare.report import write_report
    from adjudge.core.runs import Run

    heading = notices()
    loaded = _recipe(short, data)
    heading.print("\n[bold]1. Check the data[/]")
    loaded = _checked(loaded, short, data)
    heading.print(f"\n[bold]2. Run {len(loaded.methods)} methods[/]")
    outcomes = execute(loaded, runs)
    done = [Run(outcome.folder) for outcome in outcomes if outcome.status != "failed"]
    for outcome in outcomes:
        if outcome.status == "failed":
            complain(f"{outcome.planned.name}: {outcome.error}")
    heading.print("\n[bold]3. Compare[/]")
    comparison = compare_runs(done)
    write_report(report, comparison, done)
    show_comparison(comparison, results(), report)
    return 0 if len(done) == len(outcomes) else 1


def recipe_file() -> Path:
    """The demo's recipe: of the source tree, else the copy inside an installed package.

    Raises:
        DataError: neither is there.
    """
    here = Path(__file__).resolve()
    places = (here.parents[3] / "recipes" / "demo.yaml", here.parent / "starting" / "recipes" / "demo.yaml")
    for place in places:
        if place.is_file():
            return place
    raise DataError("recipes/demo.yaml is not part of this installation; install adjudge again, or run from a clone")


def _recipe(short: bool, data: str | None, extra: tuple[str, ...] = ()) -> LoadedRecipe:
    from adjudge.recipe.recipe import load_recipe

    overrides: list[str] = []
    if data is not None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.partition("://")[2] or Path(data).stem).strip("-.") or "data"
        task: dict[str, Any] = {"name": name, "data": {"train": data, "validation": data, "test": data}}
        overrides = [f"task={json.dumps(task)}", f"data={json.dumps({**task['data'], 'sample': HUB_SAMPLE})}"]
        overrides.append(f"name=demo-{name}")
    if short:
        overrides += [override for override, _ in SHORT]
        if not extra:
            cut = "; ".join(what for _, what in SHORT)
            complain(f"{cut}; the numbers are no measure of the methods", mark="short")
    return load_recipe(recipe_file(), overrides=[*overrides, *extra])


def _checked(loaded: LoadedRecipe, short: bool, data: str | None) -> LoadedRecipe:
    """Show the gate's report; errors are accepted aloud, so that the demo goes on and the runs say so."""
    from adjudge.data.gate import GateOptions
    from adjudge.data.gate import check as run_gate
    from adjudge.data.splits import load_splits
    from adjudge.methods.tfidf import out_of_fold

    with progress() as shown:
        splits = load_splits(loaded.task, loaded.data, base=loaded.base)
        options = GateOptions(out_of_fold=out_of_fold, seed=loaded.data.split_seed)
        report = run_gate(splits, options=options, progress=shown)
    codes = sorted({finding.code for finding in report.errors(loaded.accepted)})
    show_report(report, [*loaded.accepted, *codes])
    if not codes:
        return loaded
    notices().print(f"[yellow]the demo accepts these errors, and every run says so: {escape(', '.join(codes))}[/]")
    return _recipe(short, data, (f"accept={json.dumps([*loaded.accepted, *codes])}",))
