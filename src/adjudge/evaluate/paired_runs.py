"""Two runs on the same rows, tested against each other from their prediction files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from adjudge.core.problem import Problem
from adjudge.core.runs import EvaluatedSplit, Run
from adjudge.evaluate.arrays import with_shared_sets
from adjudge.evaluate.paired import Metric, mcnemar, paired_difference
from adjudge.evaluate.predictions import read_arrays


def paired(before: Run, after: Run, labels: Sequence[str], problem: Problem) -> dict[str, Any]:
    """One run tested against another on the same rows, ``after`` minus ``before``; JSON-ready.

    Of a multi-label task an answer is a set, and right where the whole set is; macro-F1 is over labels.

    Args:
        before: the run that is compared with.
        after: the other one, on the same rows.
        labels: the closed set, in order.
        problem: what kind of answer is wanted.

    Returns:
        ``run`` (the name of ``before``), ``split``, ``rows``, ``changed`` (answers that differ), ``mcnemar_p`` (exact)
        and, for ``accuracy`` and ``macro_f1``, ``before``, ``after`` and the paired bootstrap's `Difference`.
    """
    split: EvaluatedSplit = "test" if (after.path / "predictions" / "test.parquet").is_file() else "validation"
    tested = paired_tables(before.predictions(split), after.predictions(split), labels, problem)
    return {"run": before.name, "split": split, **tested}


def paired_tables(
    before: pl.DataFrame, after: pl.DataFrame, labels: Sequence[str], problem: Problem
) -> dict[str, Any]:
    """Two prediction tables of the same rows, as `paired` compares runs: its result without ``run`` and ``split``."""
    first, second = with_shared_sets([read_arrays(table, labels, problem) for table in (before, after)])
    tested: dict[str, Any] = {
        "rows": len(first.gold),
        "changed": int((first.predicted != second.predicted).sum()),
        "mcnemar_p": mcnemar(second.predicted == second.gold, first.predicted == first.gold).p_value,
    }
    metrics: tuple[Metric, ...] = ("accuracy", "macro_f1")
    for metric in metrics:
        answers, classes = (second.predicted, first.predicted), first.classes(labels)
        difference = paired_difference(first.gold, *answers, classes, metric=metric)
        scores = {"before": first.score(metric, labels), "after": second.score(metric, labels)}
        tested[metric] = scores | asdict(difference)
    return tested
