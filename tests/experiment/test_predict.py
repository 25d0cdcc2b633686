import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from adjudge.core.errors import AdjudgeWarning, DataError, UsageError, WorkError
from adjudge.core.runs import Run
from adjudge.core.task import Source
from adjudge.experiment import predict
from adjudge.experiment.predict import PredictOptions, predict_file, predict_texts
from adjudge.models.classifiers.storage import load_classifier

READ = {
    ".csv": pl.read_csv,
    ".tsv": lambda path: pl.read_csv(path, separator="\t"),
    ".jsonl": pl.read_ndjson,
    ".parquet": pl.read_parquet,
}
WRITE = {
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
    ".parquet": pl.DataFrame.write_parquet,
}


@pytest.mark.parametrize("suffix_in", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("suffix_out", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_goes_in_and_out_with_order_and_columns_kept(tfidf_run, tmp_path, reviews, suffix_in, suffix_out):
    frame = reviews(53, seed=5).drop("stars")
    source, output = tmp_path / f"new{suffix_in}", tmp_path / f"out{suffix_out}"
    WRITE[suffix_in](frame, source)
    summary = predict_file(tfidf_run, source, output, PredictOptions(batch_rows=10))
    found = READ[suffix_out](output)
    assert found.columns == ["key", "review", "shop", "label", "confidence", "prob_neg", "prob_pos"]
    assert found.select(frame.columns).equals(frame)
    probs = load_classifier(tfidf_run.path / "model").predict_proba(frame["review"].to_list())
    assert found["prob_pos"].cast(pl.Float64).to_list() == pytest.approx(probs[:, 1].tolist(), abs=1e-6)
    assert found["confidence"].cast(pl.Float64).to_list() == pytest.approx(probs.max(axis=1).tolist(), abs=1e-6)
    assert found["label"].to_list() == [["neg", "pos"][i] for i in probs.argmax(axis=1)]
    assert (summary.rows, summary.answered, summary.abstained) == (53, 53, 0)
    assert sum(summary.labels.values()) == 53
    assert not (tmp_path / f"out{suffix_out}.parts").exists()


def test_below_min_confidence_the_label_is_empty_and_the_confidence_stays(tfidf_run, tmp_path, reviews):
    reviews(40, seed=6).drop("stars").write_csv(tmp_path / "new.csv")
    predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "all.parquet")
    every = pl.read_parquet(tmp_path / "all.parquet")
    limit = float(every["confidence"].median())
    summary = predict_file(
        tfidf_run, tmp_path / "new.csv", tmp_path / "sure.parquet", PredictOptions(min_confidence=limit)
    )
    sure = pl.read_parquet(tmp_path / "sure.parquet")
    assert sure.drop("label").equals(every.drop("label"))
    assert sure["label"].is_null().to_list() == (every["confidence"] < limit).to_list()
    assert 0 < summary.abstained == sure["label"].null_count() < 40
    assert summary.answered + summary.abstained == 40


def test_rows_without_text_are_kept_and_counted_and_get_no_answer(tfidf_run, tmp_path):
    frame = pl.DataFrame({"review": ["a great day", None, "", "  \t", "a bad day"], "n": [1, 2, 3, 4, 5]})
    frame.write_parquet(tmp_path / "new.parquet")
    summary = predict_file(tfidf_run, tmp_path / "new.parquet", tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["n"].to_list() == [1, 2, 3, 4, 5]
    for column in ("label", "confidence", "prob_neg", "prob_pos"):
        assert found[column].is_null().to_list() == [False, True, True, True, False]
    assert (summary.rows, summary.answered, summary.abstained, summary.without_text) == (5, 2, 0, 3)


def test_columns_that_clash_are_named_and_a_prefix_helps(tfidf_run, tmp_path, reviews):
    reviews(9).with_columns(label=pl.lit("old"), prob_pos=pl.lit(1)).write_csv(tmp_path / "new.csv")
    with pytest.raises(DataError, match=r"columns label, prob_pos already(.|\n)*prefix"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "out.csv.parts").exists()
    predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv", PredictOptions(prefix="new_"))
    found = pl.read_csv(tmp_path / "out.csv")
    assert found["label"].to_list() == ["old"] * 9
    assert found["new_label"].is_in(["neg", "pos"]).all()


def test_two_predictions_into_one_output_do_not_mix(tfidf_run, tmp_path, reviews, monkeypatch):
    reviews(20).write_csv(tmp_path / "new.csv")
    source, output = tmp_path / "new.csv", tmp_path / "out.csv"
    real, refused = predict.answer_columns, []

    def answers(*arguments):
        with pytest.raises(WorkError, match=r"out\.csv: another process is predicting into it"):
            predict_file(tfidf_run, source, output, PredictOptions(overwrite=True))
        refused.append(True)
        return real(*arguments)

    monkeypatch.setattr(predict, "answer_columns", answers)
    assert predict_file(tfidf_run, source, output).rows == 20
    assert refused
    assert len(pl.read_csv(output)) == 20


def test_a_full_disk_while_writing_a_part_is_a_system_error_and_no_bug(tfidf_run, tmp_path, reviews, monkeypatch):
    reviews(6).write_csv(tmp_path / "new.csv")
    real = Path.write_bytes

    def full(path, data):
        if path.suffix == ".parquet":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    assert not list((tmp_path / "out.csv.parts").glob("*.parquet"))


def test_another_text_column_can_be_named(tfidf_run, tmp_path, reviews):
    reviews(6).rename({"review": "body"}).write_csv(tmp_path / "new.csv")
    with pytest.raises(DataError, match="no column 'review'"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "one.csv")
    options = PredictOptions(text_columns=("body",))
    assert predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "two.csv", options).answered == 6


def test_a_prediction_that_broke_off_goes_on_behind_its_last_part(tfidf_run, tmp_path, reviews, monkeypatch):
    reviews(50, seed=7).write_csv(tmp_path / "new.csv")
    options = PredictOptions(batch_rows=10)
    real, batches = predict.answer_columns, []

    def answers(*arguments):
        if len(batches) == 3:
            raise MemoryError("killed")
        batches.append(1)
        return real(*arguments)

    monkeypatch.setattr(predict, "answer_columns", answers)
    with pytest.raises(MemoryError):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv", options)
    assert not (tmp_path / "out.csv").exists()
    monkeypatch.setattr(predict, "answer_columns", real)
    summary = predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv", options)
    predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "whole.csv", options)
    assert summary.rows == 50
    assert summary.resumed_rows == 30
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


KILLED = """
import sys, time
from pathlib import Path
from adjudge.core.runs import Run
from adjudge.core.task import Source
from adjudge.experiment import predict
real = predict.answer_columns
def slow(*arguments):
    found = real(*arguments)
    time.sleep(0.2)
    return found
predict.answer_columns = slow
run, source, output = (Path(argument) for argument in sys.argv[1:])
predict.predict_file(Run(run), source, output, predict.PredictOptions(batch_rows=5))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_process_loses_no_row(tfidf_run, tmp_path, reviews):
    reviews(100, seed=8).write_csv(tmp_path / "new.csv")
    parts = tmp_path / "out.csv.parts"
    arguments = [str(tfidf_run.path), str(tmp_path / "new.csv"), str(tmp_path / "out.csv")]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert parts.is_dir()
    assert not (tmp_path / "out.csv").exists()
    options = PredictOptions(batch_rows=5)
    summary = predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv", options)
    assert summary.rows == 100
    assert 15 <= summary.resumed_rows < 100
    predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "whole.csv", options)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not parts.exists()


def test_parts_of_another_prediction_are_not_mixed_in(tfidf_run, tmp_path, reviews, monkeypatch):
    reviews(20).write_csv(tmp_path / "new.csv")

    def die(*_):
        raise MemoryError

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(predict, "write_output", die)
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    reviews(20, seed=9).write_csv(tmp_path / "new.csv")
    with pytest.raises(UsageError, match="parts of another prediction"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    summary = predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv", PredictOptions(overwrite=True))
    assert summary.resumed_rows == 0
    assert pl.read_csv(tmp_path / "out.csv")["review"].equals(reviews(20, seed=9)["review"])


def test_a_part_that_lost_rows_is_noticed(tfidf_run, tmp_path, reviews, monkeypatch):
    reviews(20).write_csv(tmp_path / "new.csv")
    real = predict.write_output

    def lossy(parts, *rest):
        pl.read_parquet(parts[0]).head(3).write_parquet(parts[0])
        return real(parts, *rest)

    monkeypatch.setattr(predict, "write_output", lossy)
    with pytest.raises(WorkError, match="20 rows went in and 13 came out"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv", PredictOptions(batch_rows=10))
    assert not (tmp_path / "out.csv").exists()


def test_outputs_that_are_there_or_cannot_be_are_refused(tfidf_run, tmp_path, reviews):
    source = tmp_path / "new.csv"
    reviews(5).write_csv(source)
    (tmp_path / "there.csv").write_text("mine")
    for output, message in (
        (tmp_path / "there.csv", "not overwritten"),
        (source, "is the input"),
        (tmp_path / "out.xlsx", "unknown output format"),
    ):
        with pytest.raises(UsageError, match=message):
            predict_file(tfidf_run, source, output)
    assert (tmp_path / "there.csv").read_text() == "mine"
    with pytest.raises(DataError, match="no such file"):
        predict_file(tfidf_run, tmp_path / "gone.csv", tmp_path / "out.csv")


def test_a_run_that_is_not_complete_does_not_predict(tmp_path):
    Run(tmp_path / "run").write_record({"status": "failed", "config": {"task": {"name": "t"}}})
    with pytest.raises(DataError, match="is failed, not complete"):
        predict_texts(Run(tmp_path / "run"), ["a"])


def test_nested_cells_are_kept_and_written_to_csv_as_json(tfidf_run, tmp_path):
    records = [{"review": "a great day", "tags": ["x", "ü"]}, {"review": "a bad day", "tags": []}]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    predict_file(tfidf_run, tmp_path / "new.jsonl", tmp_path / "out.csv")
    tags = pl.read_csv(tmp_path / "out.csv")["tags"].to_list()
    assert [json.loads(cell) for cell in tags] == [["x", "ü"], []]
    predict_file(tfidf_run, tmp_path / "new.jsonl", tmp_path / "out.jsonl")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["review"] for record in found] == ["a great day", "a bad day"]


def test_types_that_the_output_cannot_hold_are_refused_before_anything_is_predicted(tfidf_run, tmp_path, monkeypatch):
    pl.DataFrame({"review": ["good"], "id": [b"\xff"]}).write_parquet(tmp_path / "new.parquet")
    monkeypatch.setattr(predict, "answer_columns", lambda *_: pytest.fail("predicted"))
    for suffix in ("csv", "tsv", "jsonl"):
        with pytest.raises(DataError, match=f"column 'id' holds binary data, which a .{suffix} file cannot hold"):
            predict_file(tfidf_run, tmp_path / "new.parquet", tmp_path / f"out.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["new.parquet"]
    monkeypatch.undo()
    predict_file(tfidf_run, tmp_path / "new.parquet", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet")["id"].to_list() == [b"\xff"]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        (
            "new.tsv",
            'review\tn\n"Good film\t1\nbad\t2\nthe end"\t3\nlast\t4\n',
            ['"Good film', "bad", 'the end"', "last"],
        ),
        ("new.csv", 'review,n\n"two\nlines",1\nlast,2\n', ["two\nlines", "last"]),
        ("new.csv", "review\na, b\n\nc\n", ["a, b", "", "c"]),
        ("new.json", '{"review": "a"}\n{"review": "b"}\n', ["a", "b"]),
    ],
)
def test_every_row_of_a_file_comes_out_in_order(tfidf_run, tmp_path, name, content, texts):
    (tmp_path / name).write_text(content)
    summary = predict_file(tfidf_run, tmp_path / name, tmp_path / "out.parquet", PredictOptions(batch_rows=1))
    assert pl.read_parquet(tmp_path / "out.parquet")["review"].to_list() == texts
    assert summary.rows == len(texts)


def test_texts_a_line_need_no_column(tfidf_run, tmp_path):
    (tmp_path / "new.txt").write_text("a good day; really\n\nbad\n")
    summary = predict_file(tfidf_run, tmp_path / "new.txt", tmp_path / "out.csv")
    assert pl.read_csv(tmp_path / "out.csv")["text"].to_list() == ["a good day; really", "", "bad"]
    assert (summary.rows, summary.without_text) == (3, 1)


def test_where_quotes_leave_the_number_of_rows_open_nothing_is_predicted(tfidf_run, tmp_path):
    rows = "".join(f"film {i}\t{i}\n" for i in range(5))
    (tmp_path / "new.tsv").write_text(f'review\tn\n"a\tb"\t0\n"good\t1\nbad"\t2\n{rows}')
    with pytest.raises(DataError, match="1 cell spans lines that could be rows of their own: lines 3–4"):
        predict_file(tfidf_run, tmp_path / "new.tsv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv.parts").exists()
    told = Source(path=str(tmp_path / "new.tsv"), quoting="standard")
    assert predict_file(tfidf_run, told, tmp_path / "out.csv").rows == 7


def test_bad_rows_are_left_out_only_where_that_is_said(tfidf_run, tmp_path):
    (tmp_path / "new.csv").write_text("review,n\ngood,1\nbad,2,3\nfine,4\n")
    with pytest.raises(DataError, match="line 3: 3 cells instead of 2"):
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    told = Source(path=str(tmp_path / "new.csv"), skip_bad_rows=1)
    with pytest.warns(AdjudgeWarning, match="1 row that cannot be read is left out: line 3"):
        assert predict_file(tfidf_run, told, tmp_path / "out.csv").rows == 2


def test_another_way_of_reading_is_another_prediction(tfidf_run, tmp_path, monkeypatch):
    (tmp_path / "new.csv").write_text('review\n"a"\n')
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(predict, "write_output", lambda *_: (_ for _ in ()).throw(MemoryError))
        predict_file(tfidf_run, tmp_path / "new.csv", tmp_path / "out.csv")
    with pytest.raises(UsageError, match="parts of another prediction"):
        predict_file(tfidf_run, Source(path=str(tmp_path / "new.csv"), quoting="none"), tmp_path / "out.csv")


def test_texts_at_hand_get_label_confidence_and_probabilities(tfidf_run):
    good, empty, bad = predict_texts(tfidf_run, ["great lovely superb", "", "awful nasty grim"])
    assert (good["label"], bad["label"]) == ("pos", "neg")
    assert good["confidence"] == max(good["probabilities"].values())
    assert sum(good["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert empty == {"label": None, "confidence": None, "probabilities": None}
    (unsure,) = predict_texts(tfidf_run, ["great lovely superb"], min_confidence=1.0)
    assert unsure["label"] is None
    assert unsure["confidence"] == good["confidence"]
    assert predict_texts(tfidf_run, []) == []


def test_options_outside_their_range_are_refused():
    with pytest.raises(UsageError, match=r"min_confidence: .* got 1\.5"):
        PredictOptions(min_confidence=1.5)
    with pytest.raises(UsageError, match="batch_rows"):
        PredictOptions(batch_rows=0)
