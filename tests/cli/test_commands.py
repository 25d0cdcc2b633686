"""Every command doing its work on a small project, with the fast methods."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from pydantic import Field

from adjudge import __version__
from adjudge.cli.app import app
from adjudge.cli.methods import option_rows
from adjudge.core.atomic import read_json
from adjudge.core.config import StrictModel
from adjudge.core.runs import Run
from adjudge.methods import METHODS, MethodConfig
from tests.cli.conftest import BAD, GOOD, Call, Project, answer_json, contents, reviews, write_csv

COMMANDS = (
    "demo", "init", "check", "plan", "tune", "run", "compare", "evaluate", "predict", "verify", "show",
    "merge", "combine", "ensemble", "distil", "export", "import", "methods", "models",
)  # fmt: skip


def test_help_names_every_command_and_shows_the_way(adjudge: Call) -> None:
    assert [command.name for command in app.registered_commands] == list(COMMANDS)
    answer = adjudge("--help")
    assert answer.status == 0
    assert all(f" {name} " in answer.out for name in COMMANDS)
    assert "adjudge compare runs/reviews --report report.html" in answer.out
    assert adjudge().out == answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example_of_it(command: str, adjudge: Call) -> None:
    answer = adjudge(command, "--help")
    assert answer.status == 0
    assert f" adjudge {command}" in answer.out.partition("Examples")[2]


def test_version(adjudge: Call) -> None:
    assert adjudge("--version").out == f"adjudge {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["methods"], ["models"], ["--version"]])
def test_looking_around_imports_no_model_library(words: list[str]) -> None:
    heavy = ("torch", "transformers", "polars", "matplotlib", "sklearn") if words[0].startswith("--") else (
        "torch", "transformers", "matplotlib"
    )  # fmt: skip
    script = (
        "import sys\nfrom adjudge.cli import main\n"
        f"assert main({words!r}) == 0\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_methods_lists_all_and_explains_the_options_of_one(adjudge: Call) -> None:
    listed = adjudge("methods")
    assert all(f" {name} " in listed.out for name in METHODS)
    shown = adjudge("methods", "tfidf")
    config = METHODS.load("tfidf").config
    for name, field in config.model_fields.items():
        if name != "kind":
            assert f" {name} " in shown.out
            assert (field.description or "").split(";")[0] in " ".join(shown.out.split())
    unknown = adjudge("methods", "tfdif")
    assert unknown.status == 2
    assert "did you mean 'tfidf'?" in unknown.err


class Head(StrictModel):
    kind: Literal["score", "label"] = Field("score", description="how the answer is read off")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the state")


class Options(MethodConfig):
    kind: Literal["mine"] = "mine"
    model: str = Field(description="a model")
    rank: int | None = Field(None, ge=1, description="rank of the update")
    pair: tuple[int, int] = Field((1, 2), description="shortest and longest")
    fast: bool = Field(False, description="hurry")
    head: Head = Field(default_factory=Head, description="the head")


def test_options_are_described_from_the_config_with_nested_ones_by_dotted_names() -> None:
    assert list(option_rows(Options)) == [
        ("model", "text", "required", "a model"),
        ("rank", "integer | null ≥ 1", "null", "rank of the update"),
        ("pair", "list of integer", "[1, 2]", "shortest and longest"),
        ("fast", "true | false", "false", "hurry"),
        ("head.kind", "score | label", "score", "how the answer is read off"),
        ("head.dropout", "number ≥ 0 < 1", "0.1", "of the state"),
    ]


def test_models_lists_the_catalog(adjudge: Call) -> None:
    from adjudge.models.trunk.catalog import MODELS

    answer = adjudge("models")
    assert answer.status == 0
    assert all(model.id in answer.out and model.license in answer.out for model in MODELS)


def test_check_exits_0_without_errors_and_1_with_errors(recipe: Path, adjudge: Call) -> None:
    clean = adjudge("check", "task.yaml")
    assert (clean.status, clean.err) == (0, "")
    assert "no errors: 0 errors" in clean.out
    rows = reviews(60, 3)
    write_csv(Path("test.csv"), [*rows, reviews(120, 1)[4]])
    leak = adjudge("check", "task.yaml")
    assert leak.status == 1
    assert "overlap" in leak.out
    assert "train 5" in leak.out
    assert "test 61" in leak.out
    assert "not fit to train on: 1 error" in leak.out
    assert "accept: [overlap]" in leak.err
    task = Path("task.yaml")
    task.write_text(task.read_text().replace("data: {", "data: {accept: [overlap], "))
    accepted = adjudge("check", "task.yaml")
    assert accepted.status == 0
    assert "error (accepted)" in accepted.out


def test_check_prints_json_and_nothing_else(recipe: Path, adjudge: Call) -> None:
    answer = adjudge(
        "check", "--train", "train.csv", "--validation", "validation.csv", "--test", "test.csv",
        "--text", "review", "--label", "rating", "--json",
    )  # fmt: skip
    assert answer.status == 0
    found = answer_json(answer.out)
    assert set(found) == {"findings", "splits"}
    assert [split["rows"] for split in found["splits"].values()] == [120, 48, 60]  # type: ignore[attr-defined]


def test_check_of_one_file_looks_at_that_file_alone(recipe: Path, adjudge: Call) -> None:
    first = reviews(120, 1)
    write_csv(Path("train.csv"), [*first, first[0]])
    answer = adjudge("check", "--train", "train.csv", "--text", "review", "--label", "rating", "--json")
    found = answer_json(answer.out)
    assert list(found["splits"]) == ["train"]  # type: ignore[call-overload]
    codes = {finding["code"]: finding for finding in found["findings"]}  # type: ignore[attr-defined]
    assert codes["duplicate"]["rows"] == [{"split": "train", "row": 1}, {"split": "train", "row": 121}]


def test_check_refuses_a_task_and_files_together(recipe: Path, adjudge: Call) -> None:
    answer = adjudge("check", "task.yaml", "--text", "review")
    assert answer.status == 2
    assert "--text" in answer.err
    assert adjudge("check").status == 2


def test_check_takes_the_folder_of_the_data(recipe: Path, adjudge: Call) -> None:
    Path("elsewhere").mkdir()
    for name in ("train.csv", "validation.csv", "test.csv"):
        Path(name).rename(Path("elsewhere") / name)
    assert adjudge("check", "task.yaml").status == 2
    assert adjudge("check", "task.yaml", "--data", "elsewhere").status == 0
    assert adjudge("run", recipe, "--data", "elsewhere", "--set", "methods=[{kind: majority}]").status == 0


def test_run_ends_with_a_table_and_skips_what_is_complete(recipe: Path, adjudge: Call) -> None:
    one = ("run", recipe, "--set", "methods=[{kind: majority}]", "--runs", "out")
    first = adjudge(*one)
    assert first.status == 0, first.err
    assert "complete" in first.out
    assert "0.5000" in first.out
    assert "next: adjudge compare out/reviews" in first.err
    before = contents(Path("out"))
    again = adjudge(*one)
    assert again.status == 0
    assert "skipped" in again.out
    assert contents(Path("out")) == before


def test_a_failed_run_does_not_stop_the_others_and_gives_1(
    recipe: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise FloatingPointError("the loss became nan")

    monkeypatch.setattr("adjudge.models.classifiers.tfidf.TfidfClassifier.save", broken)
    answer = adjudge("run", recipe, "--set", "methods=[{kind: tfidf}, {kind: majority}]")
    assert answer.status == 1
    assert "the loss became nan" in answer.err
    statuses = {file.parent.name.split("-")[0]: read_json(file)["status"] for file in Path("runs").rglob("run.json")}
    assert statuses == {"tfidf": "failed", "majority": "complete"}


def test_set_overrides_are_in_the_run(recipe: Path, adjudge: Call) -> None:
    recipe.write_text("task: task.yaml\nmethods: [{kind: tfidf}]\n")
    answer = adjudge("run", recipe, "--set", "method.min_df=1", "--set", "seeds=[7]")
    assert answer.status == 0, answer.err
    (file,) = Path("runs").rglob("run.json")
    config = read_json(file)["config"]
    assert config["method"]["min_df"] == 1
    assert config["seed"] == 7


def test_evaluate_recomputes_metrics_and_finds_a_changed_one(finished: Project, here: Path, adjudge: Call) -> None:
    good = adjudge("evaluate", finished.tfidf, "--check")
    assert good.status == 0
    assert "agrees" in good.err
    computed = answer_json(adjudge("evaluate", finished.tfidf, "--json").out)
    assert computed == read_json(finished.tfidf / "metrics.json")
    copy = here / "changed"
    for name, content in contents(finished.tfidf).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    metrics = read_json(copy / "metrics.json")
    metrics["test"]["accuracy"] -= 0.01
    (copy / "metrics.json").write_text(json.dumps(metrics))
    bad = adjudge("evaluate", copy, "--check")
    assert bad.status == 1
    assert "test.accuracy: stored" in bad.err


def test_a_folder_of_several_runs_is_not_one_run(finished: Project, adjudge: Call) -> None:
    answer = adjudge("show", finished.tfidf.parent)
    assert answer.status == 2
    assert finished.tfidf.name in answer.err


def test_show_has_config_data_metrics_and_cost(finished: Project, adjudge: Call) -> None:
    answer = adjudge("show", finished.tfidf)
    assert answer.status == 0
    for part in ("complete", "min_df", "train.csv", "accuracy", "macro_f1", "train seconds", "peak memory", "neg"):
        assert part in answer.out
    document = answer_json(adjudge("show", finished.tfidf, "--json").out)
    assert document["run"] == Run(finished.tfidf).record()


def test_show_of_a_failed_run_says_why(
    here: Path, recipe: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise FloatingPointError("the loss became [nan]")

    monkeypatch.setattr("adjudge.models.classifiers.majority.MajorityClassifier.save", broken)
    adjudge("run", recipe, "--set", "methods=[{kind: majority}]")
    (file,) = Path("runs").rglob("run.json")
    answer = adjudge("show", file.parent)
    assert answer.status == 0
    assert "failed" in answer.out
    assert "the loss became [nan]" in answer.out


@pytest.mark.slow
def test_verify_compares_a_fresh_process_with_the_prediction_file(
    finished: Project, here: Path, adjudge: Call
) -> None:
    good = adjudge("verify", finished.tfidf)
    assert good.status == 0, good.err
    assert "verified" in good.out
    copy = here / "changed"
    for name, content in contents(finished.tfidf).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    file = copy / "predictions" / "test.parquet"
    table = pl.read_parquet(file)
    table.with_columns(pl.col("prob_pos") * 0.5).write_parquet(file)
    bad = adjudge("verify", copy)
    assert bad.status == 1
    assert "not the one that was measured" in bad.err


def test_predict_keeps_columns_and_order(finished: Project, here: Path, adjudge: Call) -> None:
    source = finished.folder / "test.csv"
    answer = adjudge("predict", finished.tfidf, source, "-o", "out.csv")
    assert answer.status == 0, answer.err
    assert answer.out == ""
    assert "60 rows, 60 labelled" in answer.err
    with source.open(newline="", encoding="utf-8") as stream:
        before = list(csv.DictReader(stream))
    with Path("out.csv").open(newline="", encoding="utf-8") as stream:
        after = list(csv.DictReader(stream))
    assert list(after[0]) == ["review", "rating", "label", "confidence", "prob_neg", "prob_pos"]
    assert [row["review"] for row in after] == [row["review"] for row in before]
    again = adjudge("predict", finished.tfidf, source, "-o", "out.csv")
    assert again.status == 2
    assert adjudge("predict", finished.tfidf, source, "-o", "out.csv", "--overwrite").status == 0


def test_predict_reads_texts_from_the_command_line(finished: Project, here: Path, adjudge: Call) -> None:
    answer = adjudge("predict", finished.tfidf, "--text", f"{GOOD[0]} {GOOD[1]}", "--text", f"{BAD[0]} {BAD[1]}")
    assert answer.status == 0, answer.err
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["label"] for row in rows] == ["pos", "neg"]
    assert rows[0]["text"] == f"{GOOD[0]} {GOOD[1]}"
    assert rows[0]["prob_neg"] + rows[0]["prob_pos"] == pytest.approx(1, abs=1e-6)
    assert answer.err == ""
    assert contents(here) == {}


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_predict_reads_standard_input_line_by_line(
    finished: Project, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, f'{GOOD[0]} "quoted", with a comma\r\n\n{BAD[0]} ยอดเยี่ยม 🎉\n'.encode())
    answer = adjudge("predict", finished.tfidf, "-")
    assert answer.status == 0, answer.err
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["text"] for row in rows] == [f'{GOOD[0]} "quoted", with a comma', "", f"{BAD[0]} ยอดเยี่ยม 🎉"]
    assert [row["label"] for row in rows] == ["pos", None, "neg"]


def test_predict_abstains_below_the_confidence(
    finished: Project, here: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, f"{GOOD[0]}\n{BAD[0]}\n".encode())
    answer = adjudge("predict", finished.tfidf, "-", "--min-confidence", "1", "-o", "out.parquet")
    assert answer.status == 0, answer.err
    assert "2 rows, 0 labelled, 2 abstained" in answer.err
    assert pl.read_parquet("out.parquet")["label"].to_list() == [None, None]


def test_predict_refuses_bytes_that_are_no_utf8(
    finished: Project, here: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"fine\ncaf\xe9\n")
    answer = adjudge("predict", finished.tfidf, "-", "-o", "out.csv")
    assert answer.status == 2
    assert "standard input: byte 0xE9 at offset 8 (line 2) is not valid utf-8" in answer.err
    assert contents(here) == {}


def test_predict_wants_a_file_or_texts_and_not_both(finished: Project, adjudge: Call) -> None:
    assert adjudge("predict", finished.tfidf).status == 2
    assert adjudge("predict", finished.tfidf, "x.csv", "--text", "y").status == 2
    assert adjudge("predict", finished.tfidf, "-", "--text-column", "y").status == 2


@pytest.mark.slow
def test_predict_with_a_reader_that_goes_away_is_quiet(finished: Project) -> None:
    command = [sys.executable, "-m", "adjudge.cli", "predict", str(finished.tfidf), "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write("lovely words\n" * 20_000)
    process.stdin.close()
    assert process.stderr.read() == ""
    process.wait(timeout=30)
    process.stderr.close()
