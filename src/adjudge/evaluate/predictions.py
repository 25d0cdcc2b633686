"""From prediction files to every number: what ``metrics.json`` holds and ``adjudge evaluate`` recomputes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.problem import SINGLE, Problem, problem_of
from adjudge.core.runs import EvaluatedSplit, Run
from adjudge.evaluate.arrays import Arrays, read_arrays
from adjudge.evaluate.intervals import macro_f1_interval, wilson_interval
from adjudge.evaluate.metrics import classification_metrics
from adjudge.evaluate.sets import set_intervals, set_metrics
from adjudge.evaluate.slices import metrics_by_slice, slice_columns
from adjudge.evaluate.tree import tree_metrics

__all__ = ["Arrays", "evaluate_run", "evaluate_table", "read_arrays"]


def evaluate_table(
    table: pl.DataFrame, labels: Sequence[str], *, problem: Problem = SINGLE, seed: int = 0
) -> dict[str, Any]:
    """Every metric of one prediction table, ready for JSON.

    Args:
        table: as in `core.runs.prediction_table`.
        labels: ``[C]`` the closed set.
        problem: what kind of answer the table holds.
        seed: of the bootstrap.

    Returns:
        `metrics.classification_metrics` over the rows with a gold label (of a multi-label task `sets.set_metrics`; of
        a tree with `tree.tree_metrics`), and ``intervals`` (``accuracy``: Wilson,
        ``macro_f1``: `intervals.macro_f1_interval`, others: bootstrap; 95%, as
        [low, high]), ``slices`` (column -> `slices.slice_metrics`), ``unparsed``
        (rows without an answer, which count as wrong), ``unlabelled`` (rows left out), ``truncated_share``
        (of all rows of the table, 0 to 1).

    Raises:
        DataError: no row has a gold label, or a table that `read_arrays` refuses.
    """
    arrays = read_arrays(table, labels, problem)
    n = len(arrays.gold)
    if not n:
        raise DataError(f"nothing to evaluate: none of the {len(table)} predictions has a gold label")
    right = int((arrays.gold == arrays.predicted).sum())
    intervals = {"macro_f1": macro_f1_interval(arrays.gold, arrays.predicted, arrays.classes(labels), seed=seed)}
    if arrays.sets is None:
        scores = classification_metrics(arrays.gold, arrays.probs, labels, predicted=arrays.predicted)
    else:
        scores = set_metrics(arrays.sets[arrays.gold], arrays.sets[arrays.predicted], arrays.probs, labels)
        intervals |= set_intervals(arrays.gold, arrays.predicted, arrays.sets, seed=seed)
    tree = tree_metrics(arrays.gold, arrays.predicted, labels, problem, seed=seed) if problem.hierarchical else {}
    return {
        **scores,
        **tree,
        "intervals": {
            "accuracy": list(wilson_interval(right, n)),
            **{name: list(interval) for name, interval in intervals.items()},
        },
        "slices": {by: metrics_by_slice(table, arrays, len(labels), by) for by in slice_columns(table)},
        "unparsed": arrays.unparsed,
        "unlabelled": arrays.unlabelled,
        "truncated_share": float(table["truncated"].cast(pl.Float64).sum()) / len(table),
    }


def evaluate_run(run: Run) -> dict[str, Any]:
    """Recompute a run's metrics from its prediction files and the label set in ``run.json`` alone.

    Returns:
        ``{"validation": ..., "test": ...}`` as `evaluate_table` gives them; a split without a prediction file is
        left out.

    Raises:
        DataError: no run folder, no label set in it, no prediction file at all, or a file that does not fit.
    """
    task = run.record().get("task", {})
    labels = task.get("labels")
    if not isinstance(labels, list) or not labels:
        raise DataError(f"{run.path / 'run.json'}: task.labels must list the labels, got {labels!r}")
    problem = problem_of(task)
    splits: tuple[EvaluatedSplit, ...] = get_args(EvaluatedSplit)
    files = [split for split in splits if (run.path / "predictions" / f"{split}.parquet").is_file()]
    if not files:
        raise DataError(f"{run.path}: no prediction files to evaluate (status {run.status})")
    metrics: dict[str, Any] = {}
    for split in files:
        try:
            metrics[split] = evaluate_table(run.predictions(split), labels, problem=problem)
        except DataError as error:
            raise DataError([f"{run.path}, {split}: {problem}" for problem in error.problems]) from error
    return metrics
