"""Fixtures that the tests of several layers share; what they need is imported by those that ask for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import yaml

from adjudge.core.runs import Run

if TYPE_CHECKING:
    from tests.tiny_runs import TinyRuns

GOOD = ["good", "great", "lovely", "fine", "superb", "happy", "excellent", "nice", "warm", "bright"]
BAD = ["bad", "awful", "poor", "sad", "terrible", "broken", "cold", "dull", "nasty", "grim"]
PLAIN = ["the", "a", "film", "was", "it", "and", "room", "food", "day", "really", "very", "quite", "today", "again"]


def make_reviews(rows: int, seed: int = 0) -> pl.DataFrame:
    """Rows that a bag of words can tell apart, two thirds of them positive; every text is different."""
    draw = random.Random(seed)
    records = []
    for i in range(rows):
        positive = i % 3 != 0
        words = draw.choices(PLAIN, k=8) + draw.choices(GOOD if positive else BAD, k=2)
        draw.shuffle(words)
        shop = draw.choice(["north", "south"])
        text = " ".join([*words, f"n{i}"])
        records.append({"key": f"r{i}", "review": text, "stars": ["neg", "pos"][positive], "shop": shop})
    return pl.DataFrame(records)


def leave_out_fresh_process(patch: pytest.MonkeyPatch) -> None:
    """Runs pass for verified: the fresh process, which takes seconds, has tests of its own."""
    from adjudge.derive import derived_run as derived
    from adjudge.experiment import execute
    from adjudge.models.classifiers.round_trip import RoundTrip

    for module in (execute, derived):
        patch.setattr(module, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))


@pytest.fixture
def fast_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the fresh process out where a test is about something else."""
    leave_out_fresh_process(monkeypatch)


@pytest.fixture
def reviews() -> Callable[..., pl.DataFrame]:
    return make_reviews


@pytest.fixture(scope="session")
def tfidf_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run of `tfidf`. Tests must not change it."""
    from adjudge.experiment.runner import run_recipe
    from adjudge.recipe.recipe import load_recipe

    folder = tmp_path_factory.mktemp("tfidf")
    make_reviews(150).write_csv(folder / "reviews.csv")
    recipe = {
        "task": {"name": "reviews", "text": "review", "label": "stars", "data": {"train": "reviews.csv"}},
        "methods": [{"kind": "tfidf"}],
    }
    (folder / "reviews.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_fresh_process(patch)
        (outcome,) = run_recipe(load_recipe(folder / "reviews.yaml"), runs=folder / "runs")
    assert outcome.status == "complete", outcome.error
    return Run(outcome.folder)


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    """Runs that others are made from. Tests must not change them."""
    from tests.tiny_runs import make_tiny_runs

    return make_tiny_runs(tmp_path_factory.mktemp("tiny-runs"), make_reviews(60))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[..., Path]:
    """Write data, task and recipe; keywords replace keys of the recipe."""

    def write(rows: int = 150, **changes: object) -> Path:
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "recipes").mkdir(exist_ok=True)
        if not (tmp_path / "reviews.csv").exists():
            make_reviews(rows).write_csv(tmp_path / "reviews.csv")
        task = {"name": "reviews", "text": "review", "label": "stars", "id": "key", "metadata": ["shop"]}
        task["data"] = {"train": "../reviews.csv"}
        recipe = {"task": "../tasks/reviews.yaml", "methods": [{"kind": "majority"}], **changes}
        (tmp_path / "tasks" / "reviews.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
        file = tmp_path / "recipes" / "reviews.yaml"
        file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        return file

    return write
