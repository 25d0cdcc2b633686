"""Bad input to the command line: one clear error, the right exit status, nothing written or lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from adjudge.core.atomic import read_json
from tests.cli.conftest import Call, Project, contents, reviews, write_csv

GOOD_ROWS = "review,rating\n" + "".join(f"{text},{label}\n" for text, label in reviews(40, 9))


def problems(err: str) -> list[str]:
    """The error lines; everything else on standard error is progress."""
    return [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["train.csv", "empty"]),
        (b"review,rating\n", ["train.csv", "row"]),
        (GOOD_ROWS.replace("rating", "ratings").encode(), ["train.csv", "'rating'", "did you mean 'ratings'"]),
        (GOOD_ROWS.replace(" w", "\0w", 1).encode(), ["train.csv", "NUL"]),
        (GOOD_ROWS.replace(" w", " café ", 1).encode()[:-4] + b"\xe2\x82", ["train.csv", "byte"]),
        ((GOOD_ROWS + "one,two,three\nfour,pos\nfive\n").encode(), ["train.csv", "42", "44"]),
    ],
    ids=["empty", "header only", "missing column", "NUL bytes", "half a UTF-8 sequence", "ragged rows"],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_an_unusable_data_file_is_refused(
    command: str, content: bytes, expected: list[str], recipe: Path, adjudge: Call
) -> None:
    Path("train.csv").write_bytes(content)
    before = contents(Path.cwd())
    answer = adjudge(command, "task.yaml" if command == "check" else recipe)
    assert answer.status == 2, answer
    found = problems(answer.err)
    assert found
    assert all(part in " ".join(found) for part in expected), found
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert contents(Path.cwd()) == before


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_missing_file_names_the_nearest(command: str, recipe: Path, adjudge: Call) -> None:
    Path("train.csv").rename("trains.csv")
    before = contents(Path.cwd())
    answer = adjudge(command, "task.yaml" if command == "check" else recipe)
    assert answer.status == 2
    assert problems(answer.err) == ["train.csv: no such file; did you mean 'trains.csv'?"]
    assert contents(Path.cwd()) == before


@pytest.mark.parametrize("command", ["check", "run", "evaluate", "show", "compare", "verify"])
def test_a_missing_argument_file_is_refused(command: str, here: Path, adjudge: Call) -> None:
    answer = adjudge(command, "nothing-here")
    assert answer.status == 2
    assert len(problems(answer.err)) == 1
    assert "nothing-here" in problems(answer.err)[0]
    assert contents(here) == {}


def test_a_directory_in_place_of_a_file_is_refused(recipe: Path, adjudge: Call) -> None:
    Path("folder").mkdir()
    Path("task.yaml").write_text(Path("task.yaml").read_text().replace("train.csv", "folder"))
    answer = adjudge("check", "task.yaml")
    assert answer.status == 2
    assert "folder: is a directory" in problems(answer.err)[0]
    assert adjudge("run", "folder").status == 2


def test_a_label_of_test_that_train_lacks_stops_a_run(recipe: Path, adjudge: Call) -> None:
    write_csv(Path("test.csv"), [*reviews(60, 3), ("a new sort of text", "mixed")])
    before = contents(Path.cwd())
    answer = adjudge("run", recipe)
    assert answer.status == 2
    assert "'mixed'" in answer.err
    assert "test" in answer.err
    assert contents(Path.cwd()) == before


def test_one_class_only_stops_a_run(recipe: Path, adjudge: Call) -> None:
    for name in ("train", "validation", "test"):
        file = Path(f"{name}.csv")
        file.write_text(file.read_text().replace(",neg", ",pos"))
    before = contents(Path.cwd())
    answer = adjudge("run", recipe)
    assert answer.status == 2
    assert problems(answer.err)
    assert "'pos'" in answer.err or "one class" in answer.err
    assert contents(Path.cwd()) == before


def test_all_problems_of_a_yaml_file_come_in_one_message(here: Path, adjudge: Call) -> None:
    (here / "task.yaml").write_text("txet: review\nversion: one\ndata: {train: train.csv}\n", encoding="utf-8")
    (here / "recipe.yaml").write_text("task: task.yaml\nmethods: [{kind: majority}]\n", encoding="utf-8")
    for words in (("check", "task.yaml"), ("run", "recipe.yaml")):
        answer = adjudge(*words)
        assert answer.status == 2
        text = "\n".join(problems(answer.err))
        assert len(problems(answer.err)) == 3
        assert "txet: unknown key; did you mean 'text'?" in text
        assert "version:" in text
        assert "'one'" in text
        assert "name: missing" in text


def test_a_model_that_cannot_be_had_stops_a_run_before_it_starts(recipe: Path, adjudge: Call) -> None:
    recipe.write_text("task: task.yaml\nmethods: [{kind: majority}, {kind: embedding, model: no-such-model-at-all}]\n")
    before = contents(Path.cwd())
    answer = adjudge("run", recipe)
    assert answer.status == 2
    assert "no-such-model-at-all" in problems(answer.err)[0]
    assert contents(Path.cwd()) == before


def test_a_file_where_runs_should_be_is_work_that_failed(recipe: Path, adjudge: Call) -> None:
    Path("runs").write_text("in the way")
    answer = adjudge("run", recipe)
    assert answer.status == 1
    assert "runs: is a file" in problems(answer.err)[0]
    assert Path("runs").read_text() == "in the way"


def test_a_full_disk_while_saving_fails_the_run_and_leaves_none_that_looks_complete(
    recipe: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("adjudge.models.classifiers.majority.MajorityClassifier.save", full)
    answer = adjudge("run", recipe, "--set", "methods=[{kind: majority}]")
    assert answer.status == 1
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err
    for record in Path("runs").rglob("run.json"):
        assert read_json(record)["status"] == "failed"
    monkeypatch.undo()


def test_a_full_disk_while_predicting_writes_no_output(
    finished: Project, here: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    answer = adjudge("predict", finished.tfidf, finished.folder / "test.csv", "-o", "out.csv")
    assert answer.status == 1
    assert "No space left on device; free some space" in problems(answer.err)[0]
    assert not Path("out.csv").exists()


@pytest.mark.slow
def test_a_text_of_ten_megabytes_is_no_error(recipe: Path, adjudge: Call) -> None:
    rows = reviews(120, 1)
    write_csv(Path("train.csv"), [("great " * 1_700_000, "pos"), *rows])
    answer = adjudge("run", recipe, "--set", "methods=[{kind: tfidf}]")
    assert answer.status == 0, answer.err
    (file,) = Path("runs").rglob("check.json")
    (found,) = [finding for finding in read_json(file)["findings"] if finding["code"] == "long_text"]
    assert found["level"] != "error"
    assert found["rows"] == [{"split": "train", "row": 1}]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_gives_130_and_marks_the_run_interrupted(recipe: Path) -> None:
    script = (
        "import sys, time, pathlib, adjudge.models.classifiers.majority as m\n"
        "def slow(self, path):\n"
        "    pathlib.Path('ready').touch(); time.sleep(60)\n"
        "m.MajorityClassifier.save = slow\n"
        "from adjudge.cli import main\n"
        "sys.exit(main(['run', 'reviews.yaml']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(600):
        if Path("ready").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"interrupted" in err
    assert b"Traceback" not in err
    records = [read_json(file) for file in Path("runs").rglob("run.json")]
    assert [record["status"] for record in records] == ["interrupted"]


def test_a_bug_is_called_a_bug(here: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("one over nothing")

    monkeypatch.setattr("adjudge.core.task.load_task", broken)
    answer = adjudge("check", "task.yaml")
    assert answer.status == 1
    assert "Traceback" in answer.err
    assert "this is a bug in adjudge" in answer.err


def test_a_traceback_of_a_users_mistake_is_shown_when_asked_for(
    here: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADJUDGE_TRACEBACK", "1")
    answer = adjudge("check", "nothing.yaml")
    assert answer.status == 2
    assert "Traceback" in answer.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("checks",), "No such command 'checks'"),
        (("check", "--jsn"), "--json"),
        (("run",), "recipe"),
        (("compare", "x", "--margin", "3"), "--margin"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    words: tuple[str, ...], expected: str, here: Path, adjudge: Call
) -> None:
    answer = adjudge(*words)
    assert answer.status == 2
    assert expected.lower() in "".join(problems(answer.err)).lower()
    assert "help: adjudge" in answer.err
