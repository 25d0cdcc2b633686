import builtins
import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import save_file

from adjudge.core import atomic
from adjudge.core.errors import WorkError
from adjudge.core.runs import Run, find_runs
from adjudge.experiment import execute, load
from adjudge.experiment.runner import run_recipe
from adjudge.methods import METHODS
from adjudge.methods.method import Method
from adjudge.models.classifiers.majority import MajorityClassifier
from adjudge.models.classifiers.round_trip import RoundTrip
from adjudge.recipe.recipe import load_recipe


def replace_fit(monkeypatch, name, fit):
    """Let one method fit in another way, the others as they do."""
    loaded = METHODS.load(name)
    original = METHODS.load
    replaced = Method(name, loaded.config, fit)
    monkeypatch.setattr(METHODS, "load", lambda kind: replaced if kind == name else original(kind))
    return loaded.fit


def test_a_recipe_runs_end_to_end_and_complete_runs_are_skipped(recipe_file, tmp_path):
    loaded = load_recipe(recipe_file(methods=[{"kind": "majority"}, {"kind": "tfidf"}]))
    events = []
    outcomes = run_recipe(loaded, runs=tmp_path / "runs", on_event=events.append)
    assert [outcome.status for outcome in outcomes] == ["complete", "complete"], [o.error for o in outcomes]
    assert [event.kind for event in events] == ["start", "complete"] * 2
    tfidf = Run(outcomes[1].folder)
    record = tfidf.record()
    assert record["status"] == "complete"
    assert record["finished"] >= record["started"]
    assert record["data"]["splits"]["train"]["rows"] == 105
    assert record["data"]["splits"]["test"]["source"] == "reviews.csv"
    assert record["labels_used"] == {"train": 105, "validation": 15, "calibration": 15}
    assert record["facts"]["round_trip"]["rows"] == 15
    assert record["facts"]["round_trip"]["largest_difference"] <= 1e-5
    cost = record["cost"]
    assert cost["prediction_rows"] == 30
    assert cost["prediction_seconds_per_1000_rows"] == pytest.approx(cost["prediction_seconds"] / 30 * 1000)
    assert cost["peak_memory_bytes"] >= record["facts"]["memory_at_start_bytes"] > 10_000_000
    assert cost["disk_bytes"] == sum(f.stat().st_size for f in (tfidf.path / "model").rglob("*") if f.is_file())
    assert tfidf.metrics()["test"]["accuracy"] > 0.9
    assert tfidf.check()["splits"]["test"]["rows"] == 30
    assert tfidf.texts()["split"].value_counts().sort("split")["count"].to_list() == [30, 15]
    assert tfidf.predictions("test")["meta_shop"].is_in(["north", "south"]).all()
    seconds = [event["seconds"] for event in tfidf.log()]
    assert seconds == sorted(seconds)
    before = (tfidf.path / "run.json").read_bytes()
    again = run_recipe(loaded, runs=tmp_path / "runs")
    assert [outcome.status for outcome in again] == ["skipped", "skipped"]
    assert (tfidf.path / "run.json").read_bytes() == before


@pytest.mark.usefixtures("fast_verify")
def test_another_seed_or_option_is_another_run_on_the_same_split(recipe_file, tmp_path):
    file, runs = recipe_file(), tmp_path / "runs"
    first = run_recipe(load_recipe(file), runs=runs)[0]
    other = run_recipe(load_recipe(file, overrides=["seeds=[0, 1]"]), runs=runs)
    assert [outcome.status for outcome in other] == ["skipped", "complete"]
    hashes = [Run(outcome.folder).record()["data"]["splits"] for outcome in (first, other[1])]
    assert hashes[0] == hashes[1]
    assert len(find_runs([runs / "reviews"])) == 2
    assert len(find_runs(sorted((runs / "reviews").glob("[!.]*")))) == 2  # as a shell expands runs/reviews/*


@pytest.mark.usefixtures("fast_verify")
def test_appended_rows_move_no_old_row_and_give_new_runs(recipe_file, tmp_path):
    file, runs = recipe_file(), tmp_path / "runs"
    old = Run(run_recipe(load_recipe(file), runs=runs)[0].folder).predictions("test")
    with (tmp_path / "reviews.csv").open("a") as stream:
        stream.writelines(f"x{i},a new row with number {i},pos,north\n" for i in range(40))
    outcome = run_recipe(load_recipe(file), runs=runs)[0]
    assert outcome.status == "complete"
    new = set(Run(outcome.folder).predictions("test")["row_id"])
    assert set(old["row_id"]) <= new


@pytest.mark.usefixtures("fast_verify")
def test_test_rows_reach_neither_the_model_nor_the_validation_predictions(recipe_file, tmp_path, reviews):
    frame = reviews(200)
    frame[:100].write_csv(tmp_path / "train.csv")
    frame[100:150].write_csv(tmp_path / "validation.csv")
    test = frame[150:]
    upset = test.with_columns(review=pl.col("review").str.reverse(), stars=pl.col("stars").reverse())
    folders = []
    for name, rows in (("as-is", test), ("upset", upset)):
        rows.write_csv(tmp_path / f"{name}.csv")
        data = {"train": "../train.csv", "validation": "../validation.csv", "test": f"../{name}.csv"}
        loaded = load_recipe(recipe_file(name=name, data=data, methods=[{"kind": "tfidf"}]))
        folders.append(run_recipe(loaded, runs=tmp_path / "runs")[0].folder)
    model = [str(file.relative_to(folders[0])) for file in sorted((folders[0] / "model").iterdir())]
    assert len(model) == 3
    for name in (*model, "predictions/validation.parquet"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    gold = [Run(folder).predictions("test")["gold"].to_list() for folder in folders]
    assert gold[0] != gold[1]


@pytest.mark.usefixtures("fast_verify")
def test_same_seed_gives_byte_equal_predictions_and_weights(recipe_file, tmp_path):
    loaded = load_recipe(recipe_file(methods=[{"kind": "tfidf"}]))
    folders = [run_recipe(loaded, runs=tmp_path / name)[0].folder for name in ("one", "two")]
    files = [file for file in sorted(folders[0].rglob("*")) if file.suffix in (".parquet", ".safetensors")]
    names = [str(file.relative_to(folders[0])) for file in files]
    assert len(names) >= 4
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


@pytest.mark.usefixtures("fast_verify")
def test_a_failed_run_is_recorded_and_the_others_go_on(recipe_file, tmp_path, monkeypatch):
    def fit(*_):
        raise ValueError(f"cannot read {tmp_path}/secret/weights.bin today")

    real = replace_fit(monkeypatch, "majority", fit)
    loaded = load_recipe(recipe_file(methods=[{"kind": "majority"}, {"kind": "tfidf"}]))
    outcomes = run_recipe(loaded, runs=tmp_path / "runs")
    assert [outcome.status for outcome in outcomes] == ["failed", "complete"]
    record = Run(outcomes[0].folder).record()
    assert record["status"] == "failed"
    assert record["error"] == "ValueError: cannot read weights.bin today" == outcomes[0].error
    assert any("Traceback" in event.get("message", "") for event in Run(outcomes[0].folder).log())
    # The same command afterwards does the failed run again and keeps what the failure left.
    replace_fit(monkeypatch, "majority", real)
    again = run_recipe(loaded, runs=tmp_path / "runs")
    assert [outcome.status for outcome in again] == ["complete", "skipped"]
    kept = list((tmp_path / "runs" / "reviews" / ".aside").iterdir())
    assert [Run(folder).status for folder in kept] == ["failed"]
    assert len(find_runs([tmp_path / "runs" / "reviews"])) == 2


@pytest.mark.usefixtures("fast_verify")
def test_an_interrupted_run_is_marked_and_done_again(recipe_file, tmp_path, monkeypatch):
    def fit(*_):
        raise KeyboardInterrupt

    real = replace_fit(monkeypatch, "majority", fit)
    loaded = load_recipe(recipe_file(methods=[{"kind": "majority"}, {"kind": "tfidf"}]))
    with pytest.raises(KeyboardInterrupt):
        run_recipe(loaded, runs=tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "reviews").glob("majority-*")
    assert Run(folder).status == "interrupted"
    assert not list((tmp_path / "runs" / "reviews").glob("tfidf-*"))
    replace_fit(monkeypatch, "majority", real)
    assert {outcome.status for outcome in run_recipe(loaded, runs=tmp_path / "runs")} == {"complete"}


@pytest.mark.usefixtures("fast_verify")
@pytest.mark.parametrize("full_for", ["safetensors", "test.parquet", "metrics.json", "run.json", "log.jsonl"])
def test_a_full_disk_while_saving_leaves_nothing_that_looks_complete(recipe_file, tmp_path, monkeypatch, full_for):
    loaded = load_recipe(recipe_file())
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(path):
        if full_for in str(path):
            raise full

    monkeypatch.setattr(pl.DataFrame, "write_parquet", guarded(pl.DataFrame.write_parquet, refuse, 1))
    monkeypatch.setattr("adjudge.models.classifiers.majority.save_file", guarded(save_file, refuse, 1))
    monkeypatch.setattr(Path, "write_text", guarded(Path.write_text, refuse, 0))
    monkeypatch.setattr(Path, "open", guarded(Path.open, refuse, 0))
    (outcome,) = run_recipe(loaded, runs=tmp_path / "runs")
    assert outcome.status == "failed"
    assert "No space left on device" in outcome.error
    monkeypatch.undo()
    file = outcome.folder / "run.json"
    assert not file.exists() or json.loads(file.read_text())["status"] in ("failed", "running")
    assert not list(outcome.folder.rglob(".*"))
    monkeypatch.setattr(execute, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))
    assert run_recipe(loaded, runs=tmp_path / "runs")[0].status == "complete"


def guarded(function, refuse, position):
    def call(*args, **kwargs):
        refuse(args[position])
        return function(*args, **kwargs)

    return call


def test_a_classifier_that_saves_something_else_fails_its_run(recipe_file, tmp_path, monkeypatch):
    """A trained head that is lost on saving must be noticed at once (peers reload it at random)."""
    original = MajorityClassifier.save

    def forgetful(self, path):
        original(MajorityClassifier(self.labels, self._log_shares[::-1].copy(), self.temperature), path)

    monkeypatch.setattr(MajorityClassifier, "save", forgetful)
    (outcome,) = run_recipe(load_recipe(recipe_file()), runs=tmp_path / "runs")
    assert outcome.status == "failed"
    assert "round trip" in outcome.error
    assert Run(outcome.folder).status == "failed"


def test_runs_being_a_file_is_said_and_nothing_is_lost(recipe_file, tmp_path):
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(WorkError, match="is a file where the folder of the runs should be"):
        run_recipe(load_recipe(recipe_file()), runs=tmp_path / "runs")
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.usefixtures("fast_verify")
def test_no_absolute_path_reaches_run_json(recipe_file, tmp_path):
    file = recipe_file(data={"train": str(tmp_path / "reviews.csv")})
    (outcome,) = run_recipe(load_recipe(file), runs=tmp_path / "runs")
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', (outcome.folder / "run.json").read_text())
    assert not [text for text in strings if text.startswith("/") or str(tmp_path) in text]
    assert "reviews.csv" in strings


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("no space: '/home/me/runs/a/model.bin'", "ValueError: no space: 'model.bin'"),
        ("C:\\Users\\me\\x.bin is\nbroken", "ValueError: x.bin is broken"),
        (
            "see https://example.org/docs/install and/or ask",
            "ValueError: see https://example.org/docs/install and/or ask",
        ),
    ],
)
def test_errors_are_one_line_without_the_folders_of_this_machine(message, line):
    assert execute.error_line(ValueError(message)) == line


@pytest.mark.usefixtures("fast_verify")
def test_texts_are_left_out_where_the_recipe_says_so(recipe_file, tmp_path):
    (outcome,) = run_recipe(load_recipe(recipe_file(store_texts=False)), runs=tmp_path / "runs")
    assert Run(outcome.folder).texts() is None
    assert not list(outcome.folder.rglob("texts*"))


@pytest.mark.usefixtures("fast_verify")
def test_without_test_rows_validation_is_what_is_timed(recipe_file, tmp_path):
    file = recipe_file(data={"train": "../reviews.csv", "split": {"test": 0.0}})
    (outcome,) = run_recipe(load_recipe(file), runs=tmp_path / "runs")
    run = Run(outcome.folder)
    assert outcome.status == "complete", outcome.error
    assert set(run.metrics()) == {"validation"}
    assert run.record()["cost"]["prediction_rows"] == 15


@pytest.mark.usefixtures("fast_verify")
def test_a_complete_run_on_other_rows_is_neither_skipped_nor_overwritten(recipe_file, tmp_path, monkeypatch):
    loaded = load_recipe(recipe_file())
    (outcome,) = run_recipe(loaded, runs=tmp_path / "runs")
    before = (outcome.folder / "run.json").read_bytes()
    real = load.load_splits  # a source without a file hash (a hub, a database) that has changed meanwhile
    monkeypatch.setattr(load, "load_splits", lambda *a, **k: (s := real(*a, **k)) | {"test": s["test"].take(range(5))})
    (again,) = run_recipe(loaded, runs=tmp_path / "runs")
    assert again.status == "failed"
    assert "other rows in test" in again.error
    assert (outcome.folder / "run.json").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="file locks are POSIX")
def test_two_processes_do_not_work_on_one_recipe(recipe_file, tmp_path):
    import fcntl

    (tmp_path / "runs" / "reviews").mkdir(parents=True)
    with (tmp_path / "runs" / "reviews" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WorkError, match="another process"):
            run_recipe(load_recipe(recipe_file()), runs=tmp_path / "runs")


def test_a_classifiers_bytes_are_loaded_by_a_fresh_process_by_name(tmp_path):
    """The verifier is a program of its own: it fails with a status, not silently."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "adjudge.models.classifiers.round_trip",
            str(tmp_path),
            str(tmp_path / "p"),
            str(tmp_path / "a"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert not (tmp_path / "a").exists()


def test_nothing_is_printed(recipe_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(execute, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asked for input"))
    run_recipe(load_recipe(recipe_file()), runs=tmp_path / "runs")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    assert atomic.read_json(tmp_path / "runs" / "reviews" / "split.json")
