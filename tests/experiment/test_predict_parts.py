"""The parts that a prediction leaves while it runs: what they are of, and when another prediction takes them up."""

import os
import shutil
from dataclasses import replace

import polars as pl
import pytest

from adjudge.core.errors import DataError, UsageError, WorkError
from adjudge.core.runs import Run
from adjudge.experiment import predict
from adjudge.experiment.predict import PredictOptions, PredictSummary, predict_file

TENS = PredictOptions(batch_rows=10)


@pytest.fixture
def broken_off(tfidf_run, tmp_path, reviews, monkeypatch):
    """A copy of a run, its input of 30 rows, and an output of which two of three parts are there.

    Of the input, 64 bytes at both ends are looked at, as a megabyte is of larger ones.
    """
    monkeypatch.setattr(predict, "_FINGERPRINT_BYTES", 64)
    run = Run(shutil.copytree(tfidf_run.path, tmp_path / "run"))
    source, output = tmp_path / "new.csv", tmp_path / "out.csv"
    reviews(30, seed=3).write_csv(source)
    real, batches = predict.answer_columns, []

    def dying(*arguments):
        batches.append(1)
        if len(batches) == 3:
            raise MemoryError
        return real(*arguments)

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(predict, "answer_columns", dying)
        predict_file(run, source, output, TENS)
    assert len(list((tmp_path / "out.csv.parts").glob("*.parquet"))) == 2
    return run, source, output


def test_the_same_prediction_goes_on_and_overwriting_alone_makes_no_other(broken_off):
    run, source, output = broken_off
    assert predict_file(run, source, output, replace(TENS, overwrite=True)).resumed_rows == 20


@pytest.mark.parametrize("key", ["config_hash", "started", "finished"])
def test_parts_of_another_run_are_not_taken_up(broken_off, key):
    run, source, output = broken_off
    run.write_record({**run.record(), key: "another"})
    with pytest.raises(UsageError, match="holds parts of another prediction"):
        predict_file(run, source, output, TENS)


@pytest.mark.parametrize(
    "changed",
    [{"min_confidence": 0.5}, {"text_columns": ("shop",)}, {"prefix": "new_"}, {"batch_rows": 11}],
    ids=lambda changed: next(iter(changed)),
)
def test_parts_of_other_options_are_not_taken_up(broken_off, changed):
    run, source, output = broken_off
    with pytest.raises(UsageError, match="holds parts of another prediction"):
        predict_file(run, source, output, replace(TENS, **changed))


@pytest.mark.parametrize("what", ["size", "time", "start", "end"])
def test_parts_of_another_input_are_not_taken_up(broken_off, what):
    run, source, output = broken_off
    content, status = source.read_bytes(), source.stat()
    changed = {
        "size": content + b"\n",
        "time": content,
        "start": content.replace(b"r0,", b"x0,", 1),
        "end": content[:-3] + b"xx\n",
    }[what]
    source.write_bytes(changed)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + (what == "time")))
    assert len(changed) == len(content) + (what == "size")
    with pytest.raises(UsageError, match="holds parts of another prediction"):
        predict_file(run, source, output, TENS)


def test_overwriting_drops_every_old_part(broken_off, reviews):
    run, source, output = broken_off
    reviews(5, seed=4).write_csv(source)
    summary = predict_file(run, source, output, replace(TENS, overwrite=True))
    assert (summary.rows, summary.resumed_rows) == (5, 0)
    assert pl.read_csv(output)["review"].equals(reviews(5, seed=4)["review"])


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_stands_where_the_parts_would_is_left_alone(tfidf_run, tmp_path, reviews, what):
    reviews(5).write_csv(tmp_path / "new.csv")
    parts = tmp_path / "out.csv.parts"
    if what == "folder":
        parts.mkdir()
    mine = parts / "mine.txt" if what == "folder" else parts
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is in the way of the parts of out"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    assert mine.read_text() == "mine"


def test_an_empty_folder_or_one_with_a_left_lock_is_no_obstacle(tfidf_run, tmp_path, reviews):
    reviews(5).write_csv(tmp_path / "new.csv")
    parts = tmp_path / "out.csv.parts"
    parts.mkdir()
    (parts / ".lock").touch()
    assert predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "deep" / ".." / "out.csv").rows == 5
    assert not parts.exists()


def test_a_part_with_other_rows_than_its_batch_is_named(broken_off):
    run, source, output = broken_off
    part = output.with_name("out.csv.parts") / "000000.parquet"
    pl.read_parquet(part).head(3).write_parquet(part)
    with pytest.raises(WorkError, match=r"000000\.parquet: holds 3 rows, but its batch has 10; delete it and run"):
        predict_file(run, source, output, TENS)


def test_parts_stay_where_a_later_batch_cannot_be_used(broken_off, monkeypatch):
    run, source, output = broken_off

    def unusable(*_):
        raise DataError("no such column")

    with monkeypatch.context() as patched, pytest.raises(DataError):
        patched.setattr(predict, "texts_of", unusable)
        predict_file(run, source, output, TENS)
    assert predict_file(run, source, output, TENS).resumed_rows == 20


def test_summaries_add_up_field_by_field():
    first = PredictSummary(10, 5, 1, 2, 2, 10, {"a": 3, "b": 2})
    second = PredictSummary(7, 4, 2, 1, 0, 0, {"b": 1, "c": 3})
    assert first + second == PredictSummary(17, 9, 3, 3, 2, 10, {"a": 3, "b": 3, "c": 3})
    assert list((first + second).labels) == ["a", "b", "c"]
    assert PredictSummary() + first == first
