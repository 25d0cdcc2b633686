"""One small project with a run of each kind that other runs are made from; made once for a test session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from adjudge.core.runs import Run
from adjudge.experiment import execute
from adjudge.experiment.runner import run_recipe
from adjudge.models.classifiers.round_trip import RoundTrip
from adjudge.recipe.recipe import load_recipe
from tests.tiny_models import tiny_bert, tiny_llama

TRAINING = {"epochs": 1.0, "batch_size": 8, "learning_rate": 0.02, "evaluations_per_epoch": 1}


@dataclass(frozen=True)
class TinyRuns:
    """Run folders by what they are, and the folder that holds data, task and models."""

    root: Path
    runs: dict[str, Run]

    def __getitem__(self, name: str) -> Run:
        return self.runs[name]


def make_tiny_runs(root: Path, reviews: object) -> TinyRuns:
    """Train the runs; the round trip in a fresh process is left out (it is tested elsewhere)."""
    reviews.write_csv(root / "reviews.csv")  # type: ignore[attr-defined]
    llama, bert = str(tiny_llama(root / "llama")), str(tiny_bert(root / "bert"))
    lora = {"kind": "lora", "model": llama, "precision": "float32", "training": TRAINING, "rank": 4}
    full = {"kind": "full", "model": bert, "precision": "float32", "training": TRAINING}
    recipe = {
        "task": {"name": "reviews", "text": "review", "label": "stars", "id": "key", "metadata": ["shop"]},
        "methods": [
            {"kind": "tfidf"},
            {**lora, "name": "score", "head": {"kind": "score"}},
            {**lora, "name": "no-bias", "head": {"kind": "score", "bias": False}},
            {**lora, "name": "label", "head": {"kind": "label"}},
            {**full, "name": "mean"},
            {**full, "name": "first", "head": {"pooling": "first"}},
        ],
    }
    recipe["task"]["data"] = {"train": "reviews.csv"}
    (root / "reviews.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))
        outcomes = run_recipe(load_recipe(root / "reviews.yaml"), runs=root / "runs")
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return TinyRuns(root, {outcome.planned.display: Run(outcome.folder) for outcome in outcomes})
