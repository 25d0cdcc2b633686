"""Students: what they learn from, what they must not, and what the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adjudge.core.errors import ConfigError, DataError, UsageError
from adjudge.derive.distil import DistilOptions, distil_run, kept, student_config
from adjudge.models.classifiers.storage import load_classifier
from tests.run_fixtures import make_reviews
from tests.tiny_runs import TinyRuns

FAST = ("precision=float32", "training.epochs=12.0", "training.batch_size=8", "training.learning_rate=0.005")


def options(tiny_runs: TinyRuns, **changes: object) -> DistilOptions:
    return DistilOptions(settings=(f"model={tiny_runs.root / 'bert'}", *FAST), **changes)


@pytest.mark.slow
def test_a_student_learns_its_teachers_answers(tiny_runs: TinyRuns, tmp_path: Path, fast_verify) -> None:
    """From texts without a label; the teacher is the better part of what it knows."""
    unlabelled = make_reviews(150, seed=7).select("review")
    unlabelled.write_csv(tmp_path / "texts.csv")
    made = distil_run(tiny_runs["tfidf"], tmp_path / "texts.csv", tmp_path / "student", options(tiny_runs))
    texts = unlabelled["review"].to_list()
    teacher, student = (load_classifier(run.path / "model").predict(texts) for run in (tiny_runs["tfidf"], made))
    assert np.mean(np.array(teacher) == np.array(student)) >= 0.8
    record = made.record()
    assert (record["display"], record["labels_used"]["train"]) == ("distilled", 0)
    assert record["facts"]["distillation"]["rows"] == 150
    assert record["model"]["id"] == "bert"
    assert [test["run"] for test in record["facts"]["paired"]] == [tiny_runs["tfidf"].name]
    rows = kept(made, tiny_runs["tfidf"])
    assert [row["role"] for row in rows] == ["teacher", "student"]
    assert rows[1]["accuracy"] == made.metrics()["test"]["accuracy"]
    assert all(row["seconds_per_1000_rows"] > 0 and row["disk_bytes"] > 0 for row in rows)


def test_test_rows_are_left_out_and_labels_are_counted(tiny_runs: TinyRuns, tmp_path: Path, fast_verify) -> None:
    run = tiny_runs["tfidf"]
    everything = pl.read_csv(tiny_runs.root / "reviews.csv")
    partly = everything.with_columns(pl.when(pl.int_range(pl.len()) < 30).then("stars").alias("stars"))
    partly.write_csv(tmp_path / "all.csv")
    few = DistilOptions(settings=(f"model={tiny_runs.root / 'bert'}", "training.epochs=0.1", "precision=float32"))
    made = distil_run(run, tmp_path / "all.csv", tmp_path / "student", few)
    measured = run.texts()["text"].to_list()
    usable = partly.filter(~pl.col("review").is_in(measured))
    facts = made.record()["facts"]["distillation"]
    assert facts["rows"] == len(usable) < 60
    assert facts["labelled_rows"] == usable["stars"].count() == made.record()["labels_used"]["train"]


def test_what_cannot_be_distilled_is_refused(tiny_runs: TinyRuns, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'tfidf' cannot learn from probabilities; allowed: .*full"):
        student_config(DistilOptions(method="tfidf"))
    with pytest.raises(ConfigError, match="unknown key"):
        student_config(DistilOptions(settings=("rang=3",)))
    with pytest.raises(UsageError, match="temperature"):
        DistilOptions(temperature=0.5)
    with pytest.raises(UsageError, match="gold share"):
        DistilOptions(gold_share=1.5)
    own = tiny_runs["tfidf"].texts().rename({"text": "review"}).select("review")
    own.write_csv(tmp_path / "own.csv")
    with pytest.raises(DataError, match="no texts to learn from"):
        distil_run(tiny_runs["tfidf"], tmp_path / "own.csv", tmp_path / "student", options(tiny_runs))
    assert not (tmp_path / "student").exists()
