"""The commands that make one model of another: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from adjudge.core.runs import Run
from adjudge.derive import derived_run as derived
from adjudge.models.classifiers.round_trip import RoundTrip
from tests.cli.conftest import Call, Project, contents
from tests.tiny_models import tiny_bert


@pytest.fixture(autouse=True)
def _no_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))


def test_an_ensemble_is_shown_beside_its_members(adjudge: Call, finished: Project, tmp_path: Path) -> None:
    before = contents(finished.tfidf)
    answer = adjudge("ensemble", finished.tfidf, finished.majority, "-o", tmp_path / "vote", "--weights", "validation")
    assert answer.status == 0, answer.err
    assert finished.tfidf.name in answer.out
    assert "McNemar" in answer.out
    assert Run(tmp_path / "vote").status == "complete"
    assert contents(finished.tfidf) == before
    assert adjudge("evaluate", tmp_path / "vote", "--check").status == 0
    assert adjudge("predict", tmp_path / "vote", "--text", "lovely").status == 0


def test_mistakes_are_told_and_nothing_is_written(adjudge: Call, finished: Project, tmp_path: Path) -> None:
    for words, message in (
        (("merge", finished.tfidf, "-o", tmp_path / "x"), "no neural network"),
        (("merge", finished.tfidf, "-o", tmp_path / "x", "--name", "y"), "not both"),
        (("merge", finished.tfidf, "--name", "a/b"), "is a path"),
        (("ensemble", finished.tfidf, "-o", tmp_path / "x"), "at least two different runs"),
        (("combine", finished.tfidf, finished.majority, "-o", tmp_path / "x"), "no neural network"),
        (("combine", finished.tfidf, "--how", "ties", "--how", "linear", "--name", "x"), "one way"),
        (("distil", finished.tfidf, finished.folder / "test.csv", "-o", tmp_path / "x"), "no texts to learn from"),
        (("export", finished.tfidf, "-o", tmp_path / "x"), "no neural network"),
        (("import", tmp_path, "-o", tmp_path / "x"), "needs --task"),
        (("import", finished.folder / "train.csv", "-o", tmp_path / "x", "--base", "b"), "are for models"),
    ):
        answer = adjudge(*words)
        assert (answer.status, message in answer.err) == (2, True), (words, answer.err)
    assert list(tmp_path.iterdir()) == []


def test_fine_tuning_data_is_imported_and_checks(adjudge: Call, tmp_path: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": f"thing {i}"}, {"role": "assistant", "content": "ab"[i % 2]}]}
        for i in range(40)
    ]
    file = tmp_path / "chat.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    answer = adjudge("import", file, "-o", tmp_path / "tasks")
    assert answer.status == 0, answer.err
    assert "40 rows, 2 labels: a, b" in answer.out
    assert adjudge("check", tmp_path / "tasks" / "chat.yaml").status in (0, 1)


def test_a_model_is_imported_and_its_numbers_are_shown(adjudge: Call, finished: Project, tmp_path: Path) -> None:
    base = tiny_bert(tmp_path / "bert")
    config = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32, **config)
    model.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "model")
    task = finished.folder / "task.yaml"
    answer = adjudge("import", tmp_path / "model", "--task", task, "-o", tmp_path / "run")
    assert answer.status == 0, answer.err
    assert "macro_f1" in answer.out
    assert adjudge("compare", tmp_path / "run", finished.tfidf).status == 0
