"""The demo's way from data to a report, and the recipes that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from adjudge.cli import demo
from adjudge.core.atomic import read_json
from adjudge.core.task import load_task
from adjudge.recipe.recipe import load_recipe, plan
from tests.cli.conftest import Call, reviews, write_csv

ROOT = Path(__file__).parents[2]
SIX = {"majority", "tfidf", "embedding", "zero_shot", "full", "lora"}


@pytest.mark.slow
def test_the_demo_checks_runs_compares_and_reports(
    recipe: Path, adjudge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(Path("test.csv"), [*reviews(60, 3), reviews(120, 1)[0]])
    monkeypatch.setattr(demo, "recipe_file", lambda: recipe)
    answer = adjudge("demo", "--runs", "out", "--report", "page.html")
    assert answer.status == 0, answer.err
    assert "overlap" in answer.out
    assert "the demo accepts these errors, and every run says so: overlap" in answer.err
    assert "Choose tfidf" in answer.out
    assert "report: page.html" in answer.out
    assert "<html" in Path("page.html").read_text(encoding="utf-8")
    records = [read_json(file) for file in Path("out").rglob("run.json")]
    assert [record["data"]["accepted"] for record in records] == [["overlap"], ["overlap"]]


def test_a_short_demo_says_what_it_cuts_and_cuts_it() -> None:
    whole, short = (demo._recipe(wanted, None) for wanted in (False, True))
    assert [method.name for method in short.methods] == [method.name for method in whole.methods]
    assert short.data.sample == {"train": 120, "validation": 60, "test": 100}
    assert whole.data.sample == {}
    trained = [method.options for method in short.methods if "training" in type(method.options).model_fields]
    assert len(trained) == 2
    assert [options.training.epochs for options in trained] == [1, 1]  # type: ignore[attr-defined]


def test_the_demo_takes_a_data_set_of_the_hub() -> None:
    loaded = demo._recipe(False, "hf://dair-ai/emotion")
    assert loaded.name == "demo-dair-ai-emotion"
    assert loaded.task.labels is None
    sources = (loaded.data.train, loaded.data.validation, loaded.data.test)
    assert [source.path for source in sources if source] == ["hf://dair-ai/emotion"] * 3
    assert loaded.data.sample == demo.HUB_SAMPLE


def test_every_recipe_and_task_of_the_project_is_valid() -> None:
    recipes, tasks = sorted((ROOT / "recipes").glob("*.yaml")), sorted((ROOT / "tasks").glob("*.yaml"))
    planned = {file.stem: plan(load_recipe(file)) for file in recipes}
    assert {"charges3-cpu", "demo", "emotion-cpu", "tweets-cpu", "tweets-full-cpu"} <= planned.keys()
    assert all(planned.values())
    for name in ("demo", "emotion-cpu", "tweets-cpu"):
        assert {run.method for run in planned[name]} == SIX
    assert [load_task(file).name for file in tasks] == [file.stem for file in tasks]
    assert len(tasks) >= 4
