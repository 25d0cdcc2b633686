"""Small projects whose labels are not one word for each text, to make other runs from."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from adjudge.core.runs import Run
from adjudge.experiment import execute
from adjudge.experiment.joint import load_joint, run_joint
from adjudge.experiment.runner import Outcome, run_recipe
from adjudge.models.classifiers.round_trip import RoundTrip
from adjudge.recipe.recipe import load_recipe

TRAINING = {"epochs": 1.0, "batch_size": 16, "learning_rate": 0.02, "evaluations_per_epoch": 1}
WORDS = {"delivery": ("late", "parcel"), "price": ("cheap", "refund"), "service": ("rude", "phone")}
TREE = {"goods > food": ("bread", "milk"), "goods > tools": ("saw", "drill"), "other": ("rain", "sun")}
SIZES = {"train": (60, 1), "validation": (30, 2), "test": (30, 3)}


def several(rows: int, seed: int) -> pl.DataFrame:
    """Texts with none to three labels, each with its words."""
    draw = random.Random(seed)
    made = []
    for i in range(rows):
        labels = [label for label in WORDS if draw.random() < 0.4]
        words = [draw.choice(WORDS[label]) for label in labels] + [f"w{i}", f"v{draw.random():.6f}"]
        draw.shuffle(words)
        made.append({"text": " ".join(words), "topic": "|".join(labels) or "(none)"})
    return pl.DataFrame(made)


def paths(rows: int, seed: int) -> pl.DataFrame:
    """Texts with a path of one or two levels."""
    draw, labels = random.Random(seed), list(TREE)
    return pl.DataFrame(
        {"text": f"{draw.choice(TREE[labels[i % 3]])} w{i} v{draw.random():.6f}", "topic": labels[i % 3]}
        for i in range(rows)
    )


def task_file(folder: Path, name: str, tables: dict[str, pl.DataFrame], problem: str | dict) -> Path:
    """Write a task with its data."""
    for split, table in tables.items():
        table.write_csv(folder / f"{name}-{split}.csv")
    task = {"name": name, "label": "topic", "problem": problem}
    task |= {"data": {split: f"{name}-{split}.csv" for split in tables}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return folder / f"{name}.yaml"


def make_runs(folder: Path, methods: list[dict[str, Any]], *tasks: str, start: Path | None = None) -> dict[str, Run]:
    """Train a recipe of one task or several, without the fresh process; runs by `name`, or by task and name."""
    recipe = {"task": tasks[0]} if len(tasks) == 1 else {"tasks": list(tasks)}
    file = folder / f"recipe-{'-'.join(tasks)}"
    file.write_text(yaml.safe_dump({**recipe, "name": "topics", "methods": methods}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))
        if len(tasks) == 1:
            outcomes: list[Outcome] = run_recipe(load_recipe(file), runs=folder / "runs", start=start)
        else:
            outcomes = run_joint(load_joint(file), runs=folder / "runs")
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    runs = [Run(outcome.folder) for outcome in outcomes]
    if len(tasks) == 1:
        return {str(run.record()["display"]): run for run in runs}
    return {f"{run.record()['task']['name']} {run.record()['display']}": run for run in runs}
