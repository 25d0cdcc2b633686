"""Two runs on the same rows: what is tested, and on which split."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from adjudge.core.problem import Problem
from adjudge.core.runs import Run
from adjudge.evaluate.paired_runs import paired, paired_tables
from tests.evaluate.prediction_tables import LABELS, table


def corrected(predictions: pl.DataFrame, rows: int) -> pl.DataFrame:
    """The first so many wrong answers made right."""
    wrong = (pl.col("predicted") != pl.col("gold")).cum_sum() <= rows
    return predictions.with_columns(predicted=pl.when(wrong).then(pl.col("gold")).otherwise(pl.col("predicted")))


def test_the_difference_is_after_minus_before_and_mcnemar_counts_the_changed_rows() -> None:
    before = table(60)
    tested = paired_tables(before, corrected(before, 5), LABELS, Problem())
    assert (tested["rows"], tested["changed"]) == (60, 5)
    assert tested["accuracy"]["difference"] == pytest.approx(5 / 60)
    assert tested["accuracy"]["after"] - tested["accuracy"]["before"] == pytest.approx(5 / 60)
    assert tested["mcnemar_p"] == pytest.approx(2 * 0.5**5)
    assert tested["macro_f1"]["difference"] > 0


def test_runs_are_compared_on_test_and_without_test_rows_on_validation(tmp_path: Path) -> None:
    before, after = Run(tmp_path / "before"), Run(tmp_path / "after")
    for run, shown in ((before, table(40)), (after, corrected(table(40), 2))):
        run.path.mkdir()
        run.write_predictions("validation", shown)
    tested = paired(before, after, LABELS, Problem())
    assert (tested["run"], tested["split"], tested["rows"], tested["changed"]) == ("before", "validation", 40, 2)
    for run in (before, after):
        run.write_predictions("test", table(30, seed=1))
    tested = paired(before, after, LABELS, Problem())
    assert (tested["split"], tested["rows"], tested["changed"], tested["mcnemar_p"]) == ("test", 30, 0, 1.0)
