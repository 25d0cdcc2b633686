"""`adjudge plan` and `adjudge tune` as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adjudge.core.config import read_yaml, to_yaml
from tests.cli.conftest import Call, write_project
from tests.tiny_models import tiny_llama


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The project's recipe with one method that can be searched."""
    file = write_project(tmp_path)
    value = read_yaml(file) | {"methods": [{"kind": "majority"}, {"kind": "tfidf", "char_ngrams": None}]}
    file.write_text(to_yaml(value), encoding="utf-8")
    return file


def add_method(recipe: Path, **method: object) -> None:
    value = read_yaml(recipe)
    recipe.write_text(to_yaml(value | {"methods": [*value["methods"], method]}), encoding="utf-8")


def test_plan_tells_of_every_run_and_writes_nothing(adjudge: Call, recipe: Path, tmp_path: Path) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    answer = adjudge("plan", str(recipe))
    assert answer.status == 0, answer.err
    assert "tfidf-s0-" in answer.out
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_plan_answers_in_json_and_fails_where_memory_is_short(adjudge: Call, recipe: Path) -> None:
    add_method(recipe, kind="lora", model="meta-llama/Llama-2-70b-hf")
    answer = adjudge("plan", str(recipe), "--json")
    found = json.loads(answer.out)
    assert answer.status == 1
    assert [one["method"] for one in found] == ["majority", "tfidf", "lora"]
    assert found[2]["fits"] is False
    assert found[2]["memory"]["total"] > 4 * 68e9


def test_another_model_replaces_those_of_the_recipe(adjudge: Call, recipe: Path, tmp_path: Path) -> None:
    add_method(recipe, kind="lora", model="meta-llama/Llama-2-70b-hf")
    model = tiny_llama(tmp_path / "a model: 'quoted'")
    answer = adjudge("plan", str(recipe), "--model", str(model), "--json")
    assert answer.status == 0, answer.err
    assert json.loads(answer.out)[2]["total_parameters"] < 1e6


@pytest.mark.slow
def test_tune_prints_the_best_and_writes_recipe_and_report(adjudge: Call, recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "found"
    answer = adjudge("tune", str(recipe), "--trials", "2", "--runs", str(runs))
    assert answer.status == 0, answer.err
    assert "class_weight=" in answer.out
    tuned = recipe.with_name(f"{recipe.stem}-tuned.yaml")
    assert f"adjudge run {tuned}" in answer.err
    (report,) = runs.glob("*/tune/report.html")
    assert "2 complete trials" in report.read_text(encoding="utf-8")
    assert len(json.loads((report.parent / "study.json").read_text())["studies"][0]["trials"]) == 2
    assert adjudge("plan", str(tuned)).status == 0


def test_a_space_that_cannot_be_searched_is_a_usage_error(adjudge: Call, recipe: Path) -> None:
    add_method(recipe, kind="tfidf", name="other", search={"cc": [1, 2]})
    answer = adjudge("tune", str(recipe))
    assert answer.status == 2
    assert "unknown option 'cc'" in answer.err
