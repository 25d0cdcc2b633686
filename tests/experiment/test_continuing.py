"""Training on with an existing run: the weights it starts with, and the check of what was forgotten."""

import io
import re

import polars as pl
import pytest
import yaml
from rich.console import Console

from adjudge.cli.run import show_forgetting
from adjudge.core.errors import ConfigError, DataError
from adjudge.core.runs import Run
from adjudge.experiment.continuing import starting_point
from adjudge.experiment.runner import run_recipe
from adjudge.recipe.recipe import load_recipe
from tests.tiny_runs import TRAINING

pytestmark = pytest.mark.usefixtures("fast_verify")
STILL = {**TRAINING, "learning_rate": 1e-12}


@pytest.fixture
def recipe(reviews, tmp_path, tiny_runs):
    """A recipe on new rows, for the method and the model of the tiny runs."""

    def write(method="lora", rows=None, training=STILL, **options):
        (reviews(60, seed=5) if rows is None else rows).write_csv(tmp_path / "new.csv")
        model = str(tiny_runs.root / ("bert" if method == "full" else "llama"))
        given = {"kind": method, "model": model, "precision": "float32", "training": training, **options}
        content = {
            "task": {"name": "reviews", "text": "review", "label": "stars", "id": "key", "metadata": ["shop"]},
            "methods": [given],
        }
        content["task"]["data"] = {"train": "new.csv"}
        file = tmp_path / "new.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return load_recipe(file)

    return write


@pytest.mark.parametrize(
    ("name", "method", "options"),
    [
        ("score", "lora", {"rank": 4, "head": {"kind": "score"}}),
        pytest.param("label", "lora", {"rank": 4, "head": {"kind": "label"}}, marks=pytest.mark.slow),
        pytest.param("mean", "full", {}, marks=pytest.mark.slow),
    ],
)
def test_training_starts_from_the_runs_weights(name, method, options, recipe, tmp_path, tiny_runs):
    """With a rate of next to nothing the new model is the old one, so the old test rows are answered as before."""
    (outcome,) = run_recipe(recipe(method, **options), runs=tmp_path / "runs", start=tiny_runs[name].path)
    assert outcome.status == "complete", outcome.error
    record, old = Run(outcome.folder).record(), tiny_runs[name]
    assert record["config"]["from"] == {"run": old.name, "config_hash": old.record()["config_hash"]}
    found = record["facts"]["forgetting"]
    assert (found["run"], found["rows"], found["left_out_rows"]) == (old.name, len(old.predictions("test")), 0)
    expected = old.metrics()["test"]
    for metric in ("accuracy", "macro_f1"):
        assert found[metric]["before"] == found[metric]["after"] == pytest.approx(expected[metric])
        assert found[metric]["difference"] == 0
    assert found["mcnemar_p"] == 1


@pytest.mark.slow
def test_it_is_another_run_than_one_from_the_start(recipe, tmp_path, tiny_runs):
    options = {"rank": 4, "head": {"kind": "score"}, "training": TRAINING}
    outcomes = [
        run_recipe(recipe(**options), runs=tmp_path / "runs", start=start)[0]
        for start in (None, tiny_runs["score"].path)
    ]
    assert [outcome.status for outcome in outcomes] == ["complete", "complete"]
    first, second = (Run(outcome.folder) for outcome in outcomes)
    assert first.name != second.name
    assert "forgetting" not in first.record()["facts"]
    assert first.predictions("test")["prob_pos"].to_list() != second.predictions("test")["prob_pos"].to_list()


def test_old_test_rows_that_were_trained_on_are_left_out(recipe, reviews, tmp_path, tiny_runs):
    old = tiny_runs["score"]
    known = old.texts().filter(pl.col("split") == "test")["text"].to_list()[:-1]
    new = reviews(60, seed=5)
    keys = pl.Series("key", [f"old{i}" for i in range(len(known))])
    repeated = new.head(len(known)).with_columns(pl.Series("review", known), keys)
    loaded = recipe(rows=pl.concat([new, repeated]), rank=4, head={"kind": "score"})
    (outcome,) = run_recipe(loaded, runs=tmp_path / "runs", start=old.path)
    found = Run(outcome.folder).record()["facts"]["forgetting"]
    assert 1 <= found["left_out_rows"] <= len(known)
    assert found["rows"] + found["left_out_rows"] == len(old.predictions("test"))


def test_a_run_without_texts_says_so(recipe, tmp_path, tiny_runs, monkeypatch):
    monkeypatch.setattr(Run, "texts", lambda _: None)
    loaded = recipe(rank=4, head={"kind": "score"})
    (outcome,) = run_recipe(loaded, runs=tmp_path / "runs", start=tiny_runs["score"].path)
    assert Run(outcome.folder).record()["facts"]["forgetting"] == {
        "run": tiny_runs["score"].name,
        "message": "not checked: the run stored no texts (store_texts: false)",
    }


def test_new_labels_are_refused_before_anything_is_run(recipe, reviews, tmp_path, tiny_runs):
    rows = reviews(60).with_columns(
        stars=pl.when(pl.int_range(60) % 5 == 0).then(pl.lit("mixed")).otherwise(pl.col("stars"))
    )
    with pytest.raises(DataError, match=r"labels must be the run's own \(neg, pos\); new: 'mixed'\. A head answers"):
        run_recipe(recipe(rows=rows, rank=4), runs=tmp_path / "runs", start=tiny_runs["score"].path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "method", "problem"),
    [
        ("tfidf", "tfidf", "'tfidf' has no training that could go on; it is fitted anew"),
        ("score", "full", "the method is 'full', that of the run 'lora'"),
    ],
)
def test_another_method_is_refused(name, method, problem, recipe, tmp_path, tiny_runs):
    loaded = recipe("full") if method == "full" else load_recipe(tiny_runs.root / "reviews.yaml")
    with pytest.raises(ConfigError, match=problem):
        run_recipe(loaded, runs=tmp_path / "runs", start=tiny_runs[name].path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rank": 2, "head": {"kind": "score"}}, "the adapter's r is 2 in the recipe, 4 in the run"),
        ({"rank": 4, "targets": "attention"}, r"24 weights of the trunk differ, first .*down_proj.*use the method's"),
        ({"rank": 4, "head": {"kind": "label"}}, r"the head is 'label' in the recipe, 'score, last' in the"),
        ({"rank": 4, "head": {"kind": "score"}, "prompt_style": "bare"}, "the recipe's prompt is another one"),
    ],
)
def test_other_options_of_the_method_fail_the_run_and_are_named(options, problem, recipe, tmp_path, tiny_runs):
    (outcome,) = run_recipe(recipe(**options), runs=tmp_path / "runs", start=tiny_runs["score"].path)
    assert outcome.status == "failed"
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(outcome.error)


def test_what_is_no_complete_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        starting_point(tmp_path)
    Run(tmp_path).write_record({"status": "failed"})
    with pytest.raises(DataError, match="the run is failed, not complete"):
        starting_point(tmp_path)


def test_what_was_forgotten_is_said_on_the_screen(recipe, tmp_path, tiny_runs):
    loaded = recipe(rank=4, head={"kind": "score"})
    outcomes = run_recipe(loaded, runs=tmp_path / "runs", start=tiny_runs["score"].path)
    console = Console(record=True, file=io.StringIO(), width=200)
    show_forgetting(outcomes, console)
    score = tiny_runs["score"].metrics()["test"]["accuracy"]
    rows = len(tiny_runs["score"].predictions("test"))
    said = console.export_text()
    assert said.startswith(
        f"old test rows ({rows}): accuracy {score:.4f} before, {score:.4f} after; 95% interval of the "
    )
    # Equal answers on few rows leave room for what these hide.
    low, high = (float(value) for value in re.findall(r"[+-]0\.\d{4}", said)[-2:])
    assert -0.5 < low < 0 < high == -low
    assert said.endswith("McNemar p = 1\n")
