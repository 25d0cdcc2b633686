"""A run that is killed while it trains goes on and ends with the bytes of the run that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from adjudge.core.hashing import hash_file
from adjudge.core.runs import Run
from adjudge.experiment.runner import run_recipe
from adjudge.recipe.recipe import load_recipe
from adjudge.train.checkpoints import resumable_step
from tests.tiny_models import tiny_llama

TRAINING = {
    "epochs": 3.0,
    "batch_size": 8,
    "accumulation": 2,
    "evaluations_per_epoch": 2,
    "evaluation": {"patience": 9},
}


@pytest.fixture
def recipe(recipe_file, tmp_path):
    llama = str(tiny_llama(tmp_path / "llama"))
    lora = {"kind": "lora", "model": llama, "rank": 2, "dropout": 0.1, "precision": "float32", "training": TRAINING}
    return recipe_file(rows=100, methods=[lora], checkpoint_seconds=1e-9)


class Until:
    """Progress that is interrupted in training after so many steps, or at a prediction after so many others."""

    def __init__(self, bar: str, moves: int) -> None:
        self.bar = bar
        self.moves = moves

    @contextmanager
    def task(self, description, total):
        def move(units):
            self.moves -= description == self.bar and units == 1
            if self.moves < 0:
                raise KeyboardInterrupt

        if self.bar == "predict":
            move(1)
        yield move if self.bar == "train" else lambda units: None


def made(folder: Path) -> dict[str, str]:
    """Hashes of the files that must be equal: weights, predictions, metrics, texts."""
    files = [*(folder / "model").rglob("*"), *(folder / "predictions").iterdir()]
    files += [folder / "metrics.json", folder / "texts.parquet", folder / "check.json"]
    return {str(file.relative_to(folder)): hash_file(file) for file in files if file.is_file()}


def interrupted(recipe: Path, runs: Path, bar: str, moves: int) -> Path:
    with pytest.raises(KeyboardInterrupt):
        run_recipe(load_recipe(recipe), runs=runs, progress=Until(bar, moves))
    (folder,) = (path.parent for path in runs.glob("*/*/run.json"))
    assert Run(folder).status == "interrupted"
    return folder


def whole(recipe: Path, runs: Path) -> Path:
    (outcome,) = run_recipe(load_recipe(recipe), runs=runs)
    assert outcome.status == "complete", outcome.error
    assert not (outcome.folder / "checkpoint").exists()
    return outcome.folder


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
@pytest.mark.parametrize(("bar", "moves"), [("train", 7), ("train", 20), ("predict", 6)])
def test_interrupted_and_resumed_is_uninterrupted(bar, moves, recipe, tmp_path):
    folder = interrupted(recipe, tmp_path / "resumed", bar, moves)
    started, step = Run(folder).record()["started"], resumable_step(folder / "checkpoint")
    (folder / ".model.abc").mkdir()
    events = []
    (outcome,) = run_recipe(load_recipe(recipe), runs=tmp_path / "resumed", resume=True, on_event=events.append)
    assert (outcome.status, outcome.error, outcome.folder) == ("complete", None, folder)
    assert [event.resumed for event in events] == [True, False]
    assert not (folder.parent / ".aside").exists()
    assert made(folder) == made(whole(recipe, tmp_path / "whole"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "check.json", "log.jsonl", "metrics.json", "model", "predictions", "run.json", "texts.parquet",
    ]  # fmt: skip
    record = Run(folder).record()
    assert record["started"] == started
    assert record["facts"]["resumed_after_steps"] == [step]
    log = list(Run(folder).log())
    seconds = [event["seconds"] for event in log]
    assert seconds == sorted(seconds)
    for kind in ("step", "evaluation"):
        steps = [event["step"] for event in log if event["event"] == kind]
        assert steps == sorted(set(steps))


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
def test_without_being_asked_to_resume_a_run_starts_anew(recipe, tmp_path):
    folder = interrupted(recipe, tmp_path / "runs", "train", 9)
    assert whole(recipe, tmp_path / "runs") == folder
    assert "resumed_after_steps" not in Run(folder).record()["facts"]
    (aside,) = (folder.parent / ".aside").iterdir()
    assert resumable_step(aside / "checkpoint") is not None


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
def test_resuming_without_a_checkpoint_starts_anew(recipe, tmp_path):
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    recipe.write_text(yaml.safe_dump({**content, "checkpoint_seconds": 1000}), encoding="utf-8")
    folder = interrupted(recipe, tmp_path / "runs", "train", 9)
    assert not (folder / "checkpoint").exists()
    (outcome,) = run_recipe(load_recipe(recipe), runs=tmp_path / "runs", resume=True)
    assert outcome.status == "complete"
    assert (folder.parent / ".aside").is_dir()


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
def test_how_often_a_checkpoint_is_written_makes_no_other_run(recipe, tmp_path):
    folder = whole(recipe, tmp_path / "runs")
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    recipe.write_text(yaml.safe_dump({**content, "checkpoint_seconds": 1000}), encoding="utf-8")
    (folder / "checkpoint").mkdir()
    (outcome,) = run_recipe(load_recipe(recipe), runs=tmp_path / "runs", resume=True)
    assert (outcome.status, outcome.folder) == ("skipped", folder)
    assert not (folder / "checkpoint").exists()


@pytest.mark.usefixtures("fast_verify")
def test_a_run_is_not_resumed_on_other_rows(recipe, tmp_path):
    """As of a hub data set that changed between the two."""
    folder = interrupted(recipe, tmp_path / "runs", "train", 9)
    record = json.loads((folder / "run.json").read_text())
    record["data"]["splits"]["train"]["hash"] = "another"
    (folder / "run.json").write_text(json.dumps(record))
    (outcome,) = run_recipe(load_recipe(recipe), runs=tmp_path / "runs", resume=True)
    assert outcome.status == "failed"
    assert "is interrupted, but was made with other rows in train" in outcome.error


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_and_resumed_by_the_command_line(recipe, tmp_path):
    """At a random step of each attempt, with no chance to tidy up."""
    chance = random.Random(0)
    command = [sys.executable, "-m", "adjudge.cli", "run", str(recipe), "--runs", str(tmp_path / "killed"), "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    total = 3 * 9
    last = 0
    for _ in range(2):
        target = chance.randint(last + 1, last + total // 3)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            steps = [resumable_step(path) or 0 for path in (tmp_path / "killed").glob("*/*/checkpoint")]
            if steps and steps[0] >= target:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        assert process.wait() == -signal.SIGKILL
        (folder,) = (path.parent for path in (tmp_path / "killed").glob("*/*/run.json"))
        assert Run(folder).status == "running"
        last = resumable_step(folder / "checkpoint")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "goes on from its checkpoint" in done.stderr
    assert len(Run(folder).record()["facts"]["resumed_after_steps"]) == 2
    assert made(folder) == made(whole(recipe, tmp_path / "whole"))
