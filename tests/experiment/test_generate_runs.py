"""A run whose head writes: each reply that is no label is counted and shown, in files, metrics, tables and reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from adjudge.cli import main
from adjudge.compare.comparison import CompareOptions, compare_runs
from adjudge.compare.report import render_report
from adjudge.compare.tables import markdown_table
from adjudge.core.errors import DataError
from adjudge.core.runs import Run
from adjudge.evaluate.predictions import evaluate_run
from adjudge.experiment.predict import PredictOptions, predict_file, predict_texts
from adjudge.experiment.runner import run_recipe
from adjudge.experiment.source_runs import open_run
from adjudge.experiment.tune import Search, tune_recipe
from adjudge.foresee.planning import estimate_recipe
from adjudge.models.classifiers import round_trip as verify
from adjudge.models.engine.writer import Writer, Written
from adjudge.recipe.recipe import load_recipe
from tests.tiny_models import tiny_llama

pytestmark = pytest.mark.usefixtures("fast_verify")


def answer(text: str) -> str:
    """What the stub writes: right words, wrong words and chatter, by the row's number at the end of its text."""
    number = int(text.split()[-1].removeprefix("n"))
    return ["Pos.", "neg", "I think it is pos", " pos\nText:"][number % 4]


LABEL = {"Pos.": "pos", "neg": "neg", "I think it is pos": None, " pos\nText:": "pos"}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny random model writes nothing that makes sense, so what it writes is put in its place."""

    def write(_self: object, _network: object, encoded: list, tokenizer: object, *_: object) -> list[Written]:
        return [Written(answer(tokenizer.decode(row.text_ids)), True) for row in encoded]  # type: ignore[attr-defined]

    monkeypatch.setattr(Writer, "write", write)


Make = Callable[..., Run]


@pytest.fixture
def make(recipe_file: Callable[..., Path], tmp_path: Path, stub: None) -> Make:
    def run(**changes: object) -> Run:
        llama = tmp_path / "llama"
        model = str(llama if llama.is_dir() else tiny_llama(llama))
        options = {"kind": "zero_shot", "model": model, "head": "generate", "precision": "float32"}
        loaded = load_recipe(recipe_file(rows=80, methods=[options], **changes))
        (outcome,) = run_recipe(loaded, runs=tmp_path / "runs")
        assert outcome.error is None
        return Run(outcome.folder)

    return run


def test_files_and_metrics_count_the_replies_that_are_no_label(make: Make) -> None:
    run = make()
    texts = dict(run.texts().select("row_id", "text").iter_rows())  # type: ignore[union-attr]
    for split in ("validation", "test"):
        table = run.predictions(split)  # type: ignore[arg-type]
        replies = [answer(texts[row]) for row in table["row_id"]]
        assert table["reply"].to_list() == replies
        assert table["predicted"].to_list() == [LABEL[reply] for reply in replies]
        assert table["parse_status"].to_list() == ["parsed" if LABEL[reply] else "unparsed" for reply in replies]
        assert table.select(pl.sum_horizontal("prob_neg", "prob_pos")).to_series().is_between(0.999, 1.001).all()
        found = run.metrics()[split]
        right = sum(LABEL[reply] == gold for reply, gold in zip(replies, table["gold"], strict=True))
        assert found["accuracy"] == pytest.approx(right / len(table))
        assert found["unparsed"] == replies.count("I think it is pos") > 0
        assert sum(map(sum, found["confusion"])) == len(table) - found["unparsed"]
    assert evaluate_run(run) == run.metrics()
    assert run.record()["facts"]["generation"]["max_new_tokens"] > 4


def test_without_stored_texts_the_replies_are_not_stored_either(make: Make) -> None:
    table = make(store_texts=False).predictions("test")
    assert "reply" not in table.columns
    assert table["parse_status"].value_counts().height == 2


def test_show_and_compare_show_them(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make()
    found = run.metrics()["test"]
    share = found["unparsed"] / found["n"]
    assert main(["show", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert "unparsed replies" in shown
    assert f"{found['unparsed']} of {found['n']}" in shown
    assert main(["evaluate", str(run.path), "--check"]) == 0
    comparison = compare_runs([run], CompareOptions(resamples=100))
    assert comparison.groups[0].unparsed == pytest.approx(share)
    header, _, body = [line for line in markdown_table(comparison).splitlines() if line.startswith("| ")][:3]
    cells = [[cell.strip() for cell in line.split("|")] for line in (header, body)]
    assert dict(zip(*cells, strict=True))["unparsed"] == f"{share:.1%}"
    assert any(f"({found['unparsed']})" in note for note in comparison.notes)
    page = render_report(comparison, [run])
    assert "unparsed<br>replies" in page
    assert f"<td>{share:.1%}</td>" in page
    assert json.dumps(comparison.to_json(), allow_nan=False)


def test_prediction_over_files_leaves_the_label_out(make: Make, tmp_path: Path, reviews: Callable) -> None:
    run = make()
    empty_row = pl.DataFrame({"key": ["e"], "review": [" "], "shop": ["x"]})
    frame = pl.concat([reviews(12, seed=3).drop("stars"), empty_row])
    frame.write_csv(tmp_path / "new.csv")
    summary = predict_file(run, tmp_path / "new.csv", tmp_path / "out.parquet", PredictOptions(batch_rows=5))
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns[3:6] == ["label", "confidence", "reply"]
    replies = [answer(text) for text in frame["review"][:12]]
    assert found["reply"].to_list() == [*replies, None]
    assert found["label"].to_list() == [*(LABEL[reply] for reply in replies), None]
    assert found["confidence"].is_null().to_list() == [*(LABEL[reply] is None for reply in replies), True]
    assert found["prob_pos"].is_null().to_list() == [False] * 12 + [True]
    first = found.row(0, named=True)
    assert first["confidence"] == first[f"prob_{first['label']}"]
    assert (summary.rows, summary.answered, summary.abstained, summary.unparsed, summary.without_text) == (
        13, 9, 0, 3, 1
    )  # fmt: skip
    sure = predict_file(run, tmp_path / "new.csv", tmp_path / "sure.parquet", PredictOptions(min_confidence=1.0))
    assert (sure.answered, sure.abstained, sure.unparsed) == (0, 9, 3)
    unread, empty = predict_texts(run, ["well n2", ""])
    assert (unread["label"], unread["confidence"], unread["reply"]) == (None, None, "I think it is pos")
    assert sum(unread["probabilities"].values()) == pytest.approx(1)
    assert set(empty.values()) == {None}


def test_the_command_says_how_many(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"review": ["a n1", "b n2", "c n6"]}).write_csv(tmp_path / "new.csv")
    assert main(["predict", str(make().path), str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.csv")]) == 0
    assert "3 rows, 1 labelled, 2 with a reply that is no label" in capsys.readouterr().err


def test_verify_reads_the_replies_again(
    make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make()
    monkeypatch.setattr(verify, "verify_saved", lambda *_, **__: verify.RoundTrip(1, 0.0, 1e-5, 0))
    assert main(["verify", str(run.path)]) == 0
    assert "replies: 0 differ" in capsys.readouterr().out
    monkeypatch.setattr(Writer, "write", lambda _self, _network, encoded, *_: [Written("pos", True)] * len(encoded))
    assert main(["verify", str(run.path)]) == 1
    assert "replies of the saved model" in capsys.readouterr().err


def test_a_search_scores_replies_and_not_the_scores_beside_them(
    recipe_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "write", lambda _self, _network, encoded, *_: [Written("?", True)] * len(encoded))
    options = {"kind": "zero_shot", "model": str(tiny_llama(tmp_path / "llama")), "head": "generate"}
    recipe = load_recipe(recipe_file(rows=60, methods=[{**options, "search": {"scoring": ["raw", "pmi"]}}]))
    (study,) = tune_recipe(recipe, Search(trials=2), runs=tmp_path / "runs")
    assert [trial.value for trial in study.trials] == [0.0, 0.0]


def test_runs_that_carry_scores_alone_are_not_made_from_it(make: Make) -> None:
    with pytest.raises(DataError, match="read off replies"):
        open_run(make())


@pytest.mark.parametrize("head", ["label", "generate"])
def test_it_can_be_planned_by_shape_and_by_a_probe(
    head: str, recipe_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    write = Writer.write

    def counting(self: Writer, network: object, encoded: list, *rest: object) -> list[Written]:
        asked.append(len(encoded))
        return write(self, network, encoded, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Writer, "write", counting)
    options = {"kind": "zero_shot", "model": str(tiny_llama(tmp_path / "llama")), "head": head}
    recipe = load_recipe(recipe_file(rows=60, methods=[options]))
    (by_shape,), (by_probe,) = estimate_recipe(recipe), estimate_recipe(recipe, probe=True)
    assert by_shape.trainable_parameters == by_probe.trainable_parameters == 0
    assert bool(asked) == (head == "generate")  # writing is part of what the probe times


@pytest.mark.usefixtures("stub")
def test_a_trained_method_counts_them_too_and_is_validated_by_its_replies(
    recipe_file: Callable[..., Path], tmp_path: Path
) -> None:
    training = {"epochs": 1.0, "batch_size": 16, "evaluations_per_epoch": 1}
    lora = {"kind": "lora", "model": str(tiny_llama(tmp_path / "llama")), "head": "generate", "precision": "float32"}
    loaded = load_recipe(recipe_file(rows=80, methods=[{**lora, "rank": 2, "training": training}]))
    (outcome,) = run_recipe(loaded, runs=tmp_path / "runs")
    assert outcome.error is None
    run = Run(outcome.folder)
    table = run.predictions("validation")
    assert set(table["parse_status"]) == {"parsed", "unparsed"}
    found = run.metrics()["validation"]
    assert found["unparsed"] == table["predicted"].null_count() > 0
    (evaluation,) = [event for event in run.log() if event["event"] == "evaluation"]
    assert evaluation["macro_f1"] == pytest.approx(found["macro_f1"])
    assert evaluation["accuracy"] == pytest.approx(found["accuracy"])
