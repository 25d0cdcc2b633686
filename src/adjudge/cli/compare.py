"""`adjudge compare`: runs on the same test rows, with intervals, tests, costs and a choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from adjudge.cli.shared.comparison_table import show_comparison
from adjudge.cli.shared.screen import print_json, results
from adjudge.core.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from adjudge.compare.deciding import DecidingMetric
    from adjudge.compare.results import CompareOptions, Constant

EPILOG = """\
[bold]Examples[/]

  adjudge compare runs/reviews --report report.html
  adjudge compare runs/reviews/tfidf-* runs/reviews/lora-* --margin 0.02
  adjudge compare runs/tickets --metric cost --costs costs.yaml
  adjudge compare runs/emotion --constant "LLaMA3-8B with LoRA, published=0.9262"

The choice is the cheapest method that this test set shows to lose less than the margin to the reference, which is
the best on validation. Over all cheaper methods together, a choice that loses more is made at most 5 times in 100.
docs/comparing.md has the rule with an example."""


def compare(  # noqa: PLR0913 - a command's options are its parameters
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or a folder of runs.")],
    report: Annotated[Path | None, typer.Option(help="Write a self-contained HTML report here.")] = None,
    metric: Annotated[
        str, typer.Option(help="What decides: macro_f1, accuracy, mcc, log_loss or cost (of mistakes).")
    ] = "macro_f1",
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="What of the metric a cheaper method may lose and still be chosen.  [default: 0.01, log_loss 0.02]",
            show_default=False,
        ),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option(help="For --metric cost: a YAML file, gold: {answer: cost}, or a task file with them."),
    ] = None,
    cost: Annotated[
        str, typer.Option(help="What cheap means: a key of the cost in run.json.")
    ] = "prediction_seconds_per_1000_rows",
    constant: Annotated[
        list[str] | None, typer.Option(help="Published accuracy to set beside the runs: NAME=0.9262. Repeatable.")
    ] = None,
    no_texts: Annotated[bool, typer.Option("--no-texts", help="Row ids instead of texts in the report.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole comparison as JSON.")] = False,
) -> None:
    """Compare runs and name the choice."""
    from adjudge.compare.comparison import compare_runs
    from adjudge.compare.results import CompareOptions
    from adjudge.compare.tables import markdown_table
    from adjudge.core.runs import find_runs

    if markdown and as_json:
        raise UsageError("--markdown and --json cannot be given together; both go to standard output")
    compared = find_runs(runs)
    constants = tuple(_constant(text) for text in constant or ())
    options = CompareOptions(cost=cost, constants=constants, mistake_costs=_mistake_costs(costs) if costs else None)
    comparison = compare_runs(compared, _deciding(options, metric, margin))
    if report is not None:
        from adjudge.compare.report import write_report

        write_report(report, comparison, compared, texts=not no_texts)
    if as_json:
        print_json(comparison.to_json())
    elif markdown:
        typer.echo(markdown_table(comparison))
    else:
        show_comparison(comparison, results(), report)


def _constant(text: str) -> Constant:
    """Read ``NAME=0.9262``; the name may hold an equals sign."""
    from adjudge.compare.results import Constant

    name, separator, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not separator or not name.strip() or not 0.0 <= value <= 1.0:
        raise UsageError(f"--constant {text!r}: expected NAME=ACCURACY with an accuracy from 0 to 1, as 'GPT=0.9262'")
    return Constant(name=name.strip(), accuracy=value, source="as given on the command line")


def _deciding(options: CompareOptions, metric: str, margin: float | None) -> CompareOptions:
    """The options with the metric that decides, and its own margin where none is given."""
    from adjudge.compare.deciding import DECIDING

    if metric not in DECIDING:
        raise UsageError(f"--metric {metric!r} decides no choice; {did_you_mean(metric, DECIDING)}")
    own = DECIDING[metric].margin if margin is None else margin
    return replace(options, metric=cast("DecidingMetric", metric), margin=own)


def _mistake_costs(path: Path) -> dict[str, dict[str, float]]:
    """Costs from a YAML file: ``gold label: {answer: cost}``, or a task file whose labels have ``mistakes``."""
    from adjudge.compare.deciding import costs_of_labels
    from adjudge.core.config import read_yaml

    content = read_yaml(path)
    costs = costs_of_labels(content.get("labels")) if isinstance(content, dict) and "labels" in content else content
    whole = isinstance(costs, dict) and costs and all(isinstance(row, dict) for row in costs.values())
    cells = [value for row in costs.values() for value in row.values()] if whole else [None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in cells):
        raise ConfigError(
            f"{path}: expected costs as `gold label: {{answer: cost}}`, or a task file whose labels say them"
        )
    return {str(gold): {str(answer): float(cost) for answer, cost in row.items()} for gold, row in costs.items()}
