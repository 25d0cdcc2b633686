"""A small project on disk, run once, and the command line in this process."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from adjudge.cli import main

GOOD = ("great", "lovely", "superb", "happy", "wonderful", "pleased")
BAD = ("awful", "broken", "terrible", "sad", "poor", "useless")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    status: int
    out: str
    err: str


Call = Callable[..., Answer]


@pytest.fixture
def adjudge(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command line in this process, its output as wide as that of a pipe."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*words: str | Path) -> Answer:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reviews(rows: int, seed: int) -> list[tuple[str, str]]:
    """Texts whose words tell their label; the fillers make every text different."""
    generator = random.Random(seed)
    made = []
    for i in range(rows):
        label, words = ("pos", GOOD) if i % 2 else ("neg", BAD)
        filler = " ".join(f"w{generator.randrange(900)}" for _ in range(8))
        made.append((f"{generator.choice(words)} {filler} {generator.choice(words)}", label))
    return made


def write_csv(path: Path, rows: list[tuple[str, str]], header: tuple[str, ...] = ("review", "rating")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def write_project(folder: Path) -> Path:
    """Three data files, a task and a recipe of the two fast methods; the recipe's path."""
    for split, (rows, seed) in {"train": (120, 1), "validation": (48, 2), "test": (60, 3)}.items():
        write_csv(folder / f"{split}.csv", reviews(rows, seed))
    (folder / "task.yaml").write_text(
        "name: reviews\ntext: review\nlabel: rating\n"
        "data: {train: train.csv, validation: validation.csv, test: test.csv}\n",
        encoding="utf-8",
    )
    recipe = folder / "reviews.yaml"
    recipe.write_text("task: task.yaml\nmethods: [{kind: majority}, {kind: tfidf}]\n", encoding="utf-8")
    return recipe


@pytest.fixture
def recipe(here: Path) -> Path:
    """A project of one's own, not run yet."""
    return write_project(here)


@dataclass(frozen=True)
class Project:
    """A project whose recipe has been run. Tests must not change it."""

    folder: Path
    tfidf: Path
    majority: Path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `adjudge run`."""
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", str(write_project(folder)), "--runs", str(folder / "runs")]) == 0
    runs = {path.name.split("-")[0]: path for path in (folder / "runs" / "reviews").glob("*-s0-*")}
    return Project(folder, runs["tfidf"], runs["majority"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, to see that nothing was written or lost."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def answer_json(text: str) -> dict[str, object]:
    found = json.loads(text)
    assert isinstance(found, dict)
    return found
