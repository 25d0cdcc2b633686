"""Recipes of several tasks: one training, an ordinary run for each task, and every command takes those as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from safetensors.numpy import load_file

from adjudge.cli import main
from adjudge.core.errors import ConfigError, WorkError
from adjudge.core.hashing import hash_file
from adjudge.core.runs import Run
from adjudge.experiment import joint as joint_module
from adjudge.experiment.joint import load_joint, run_joint
from adjudge.experiment.runner import run_recipe
from adjudge.recipe.recipe import load_recipe, plan
from tests.run_fixtures import make_reviews
from tests.tiny_models import tiny_llama
from tests.train.interruption import Interrupted, Until

TRAINING = {"epochs": 3.0, "batch_size": 8, "evaluations_per_epoch": 1}
Make = Callable[..., Path]


@pytest.fixture
def recipe(tmp_path: Path) -> Make:
    """Two tasks of different sizes and labels on a tiny Llama; keywords replace keys of the recipe."""
    make_reviews(80).write_csv(tmp_path / "reviews.csv")
    shops = (
        make_reviews(40, seed=5).with_columns(pl.col("review") + " " + pl.col("shop")).sample(40, shuffle=True, seed=0)
    )
    shops.write_csv(tmp_path / "shops.csv")
    for name, label in (("reviews", "stars"), ("shops", "shop")):
        task = {"name": name, "text": "review", "label": label, "id": "key", "data": {"train": f"{name}.csv"}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(task))
    model = str(tiny_llama(tmp_path / "llama"))
    lora = {"kind": "lora", "model": model, "rank": 2, "precision": "float32", "training": TRAINING}

    def write(**changes: Any) -> Path:
        file = tmp_path / "both.yaml"
        content = {
            "tasks": ["reviews.yaml", "shops.yaml"],
            "mixing": {"temperature": 2.0},
            "methods": [lora],
            **changes,
        }
        file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return file

    return write


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hash_file(file) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("fast_verify")
def test_one_command_trains_once_and_leaves_a_run_for_each_task(
    recipe: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert main(["run", str(recipe()), "--runs", str(runs)]) == 0
    shown = capsys.readouterr()
    assert "both-reviews/lora-llama-s0-" in shown.out
    assert "both-shops/lora-llama-s0-" in shown.out
    (reviews,), (shops,) = ([Run(path.parent) for path in runs.glob(f"both-{name}/*/run.json")] for name in NAMES)
    records = [run.record() for run in (reviews, shops)]
    assert [record["task"]["labels"] for record in records] == [["neg", "pos"], ["north", "south"]]
    assert records[0]["facts"]["joint"] == records[1]["facts"]["joint"]
    mixture = records[0]["facts"]["joint"]
    sizes = [task["train_rows"] for task in mixture["tasks"]]
    assert sizes == [record["data"]["splits"]["train"]["rows"] for record in records]
    shares = np.sqrt(sizes) / np.sqrt(sizes).sum()
    steps = [task["steps"] for task in mixture["tasks"]]
    assert sum(steps) == records[0]["facts"]["steps"]
    np.testing.assert_allclose(steps, shares * sum(steps), atol=1)
    assert records[0]["cost"]["train_seconds"] == records[1]["cost"]["train_seconds"] > 0
    assert records[0]["config"]["joint"]["temperature"] == 2.0
    adapters = [bytes_of(run.path / "model" / "adapter") for run in (reviews, shops)]
    assert adapters[0] == adapters[1]
    heads = [load_file(run.path / "model" / "head.safetensors")["linear.weight"] for run in (reviews, shops)]
    assert not np.array_equal(*heads)
    assert any("in the log of" in event.get("message", "") for event in shops.log())
    for run in (reviews, shops):
        assert main(["evaluate", str(run.path), "--check"]) == 0
        (tmp_path / "new.csv").write_text("review\na great day\n")
        assert (
            main(["predict", str(run.path), str(tmp_path / "new.csv"), "-o", str(tmp_path / f"{run.name}.csv")]) == 0
        )
        assert not (run.path / "checkpoint").exists()
    capsys.readouterr()
    assert main(["run", str(recipe()), "--runs", str(runs)]) == 0
    assert capsys.readouterr().out.count("skipped") == 2


NAMES = ("reviews", "shops")


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
def test_one_task_is_a_plain_training(recipe: Make, tmp_path: Path) -> None:
    (alone,) = run_joint(load_joint(recipe(tasks=["reviews.yaml"])), runs=tmp_path / "runs")
    plain_recipe = recipe(tasks=None, mixing=None, task="reviews.yaml", name="plain")
    (plain,) = run_recipe(load_recipe(plain_recipe), runs=tmp_path / "runs")
    assert (alone.error, plain.error) == (None, None)
    assert bytes_of(alone.folder / "model") == bytes_of(plain.folder / "model")
    for name in ("validation", "test"):
        assert Run(alone.folder).predictions(name).equals(Run(plain.folder).predictions(name))
    assert Run(alone.folder).metrics() == Run(plain.folder).metrics()


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
def test_an_interrupted_training_goes_on_and_a_missing_run_is_made_again(recipe: Make, tmp_path: Path) -> None:
    file = recipe(checkpoint_seconds=1e-9)
    whole = run_joint(load_joint(file), runs=tmp_path / "whole")
    runs = tmp_path / "runs"
    with pytest.raises(Interrupted):
        run_joint(load_joint(file), runs=runs, progress=Until(5))
    resumed = run_joint(load_joint(file), runs=runs, resume=True)
    assert Run(resumed[0].folder).record()["facts"]["resumed_after_steps"] == [4]
    for one, other in zip(whole, resumed, strict=True):
        assert bytes_of(one.folder / "model") == bytes_of(other.folder / "model")
    (resumed[1].folder / "run.json").unlink()
    again = run_joint(load_joint(file), runs=runs)
    assert [outcome.status for outcome in again] == ["skipped", "complete"]
    assert bytes_of(again[1].folder / "model") == bytes_of(whole[1].folder / "model")


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "full", "head": {"kind": "score"}},
        {"kind": "lora", "rank": 2, "head": {"kind": "label"}},
        {"kind": "lora", "rank": 2, "head": {"kind": "generate"}},
        {"kind": "adalora", "rank": 2},
    ],
    ids=lambda options: f"{options['kind']}-{options.get('head', {}).get('kind')}",
)
def test_other_methods_and_heads(options: dict[str, Any], recipe: Make, tmp_path: Path) -> None:
    method = {**options, "model": str(tmp_path / "llama"), "precision": "float32", "training": TRAINING}
    outcomes = run_joint(load_joint(recipe(methods=[method])), runs=tmp_path / "runs")
    assert [outcome.error for outcome in outcomes] == [None, None]
    for outcome in outcomes:
        assert main(["verify", str(outcome.folder)]) == 0


@pytest.mark.usefixtures("fast_verify")
def test_a_training_that_fails_is_tried_once(recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise WorkError("no memory")

    monkeypatch.setattr(joint_module._Training, "_train", fail)
    outcomes = run_joint(load_joint(recipe()), runs=tmp_path / "runs")
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("failed", "no memory")] * 2
    assert len(tried) == 1


def test_what_is_run_depends_on_the_other_tasks_and_the_mixing(recipe: Make, tmp_path: Path) -> None:
    def names(path: Path, *overrides: str) -> list[str]:
        return [plan(member)[0].name for member in load_joint(path, overrides=overrides).members]

    both = names(recipe())
    assert names(recipe(), "mixing.temperature=2.0") == both
    assert set(names(recipe(), "mixing.temperature=1.0")).isdisjoint(both)
    assert names(recipe(tasks=["reviews.yaml"]))[0] != both[0]
    make_reviews(44, seed=6).write_csv(tmp_path / "shops.csv")
    assert names(recipe())[0] != both[0]


def test_mistakes_are_named_together(recipe: Make) -> None:
    methods = [{"kind": "tfidf"}, {"kind": "majority"}]
    with pytest.raises(ConfigError) as found:
        load_joint(recipe(tasks=["reviews.yaml", "reviews.yaml"], methods=methods, data={"train": "x.csv"}))
    text = str(found.value)
    assert "data: cannot stand beside `tasks`" in text
    assert "two are called 'reviews'" in text
    assert "'tfidf' is not trained in steps" in text
    assert "'majority' is not trained in steps" in text
    with pytest.raises(ConfigError, match="temperature"):
        load_joint(recipe(mixing={"temperature": 0}))
    with pytest.raises(ConfigError, match="for `adjudge run` alone"):
        load_recipe(recipe())


def test_it_starts_from_no_run(recipe: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(recipe()), "--from", str(tmp_path)]) == 2
    assert "has several tasks" in capsys.readouterr().err
