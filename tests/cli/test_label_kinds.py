"""Tasks with several labels for a text, and with labels in a tree, from the data gate to a prediction."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn import metrics as reference

from adjudge.cli import main
from adjudge.core.problem import Problem
from adjudge.core.runs import Run
from adjudge.derive import derived_run as derived
from adjudge.evaluate.thresholds import best_thresholds
from adjudge.experiment import execute
from adjudge.models.classifiers.round_trip import RoundTrip
from adjudge.models.classifiers.storage import load_classifier
from tests.cli.conftest import Call, write_csv
from tests.tiny_models import tiny_bert, tiny_llama

TRAINING = {"epochs": 1.0, "batch_size": 16, "learning_rate": 0.02, "evaluations_per_epoch": 1}
WORDS = {
    "delivery": ("late", "parcel", "courier"),
    "price": ("cheap", "costly", "refund"),
    "service": ("rude", "polite", "phone"),
}
TREE = {
    "goods > food": ("bread", "milk", "cake"),
    "goods > tools": ("hammer", "saw", "drill"),
    "service > phone": ("call", "line", "hold"),
    "other": ("weather", "rain", "sun"),
}
LABELS = tuple(WORDS)
SEVERAL = Problem(kind="multi_label")


def several(rows: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    made = []
    for i in range(rows):
        labels = [label for label in WORDS if draw.random() < 0.4]
        words = [word for label in labels for word in draw.sample(WORDS[label], 2)] + [f"w{i}", f"v{draw.random()}"]
        draw.shuffle(words)
        made.append((" ".join(words), "|".join(labels) or "(none)"))
    return made


def paths(rows: int, seed: int) -> list[tuple[str, str]]:
    draw, labels = random.Random(seed), list(TREE)
    return [
        (" ".join([*draw.sample(TREE[labels[i % 4]], 2), f"w{i}", f"v{draw.random()}"]), labels[i % 4])
        for i in range(rows)
    ]


@dataclass(frozen=True)
class Project:
    """A recipe that has been run, and its runs by method."""

    recipe: Path
    runs: dict[str, Run]


def project(folder: Path, made: Any, problem: str, methods: list[dict[str, Any]]) -> Project:
    """Run a recipe; the round trip in a fresh process is kept for one run with several labels."""
    for split, (rows, seed) in {"train": (120, 1), "validation": (48, 2), "test": (60, 3)}.items():
        write_csv(folder / f"{split}.csv", made(rows, seed), ("text", "topic"))
    data = {name: f"{name}.csv" for name in ("train", "validation", "test")}
    task = {"name": "topics", "label": "topic", "problem": problem, "data": data}
    (folder / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    recipe = folder / "topics.yaml"
    recipe.write_text(yaml.safe_dump({"task": "task.yaml", "methods": methods}), encoding="utf-8")
    real = execute.verify_saved

    def verified(classifier: Any, model: Path, *rest: Any, **named: Any) -> RoundTrip:
        fresh = problem == "multi_label" and model.parent.name.startswith("tfidf")
        return real(classifier, model, *rest, **named) if fresh else RoundTrip(1, 0.0, 1e-5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "verify_saved", verified)
        assert main(["run", str(recipe), "--runs", str(folder / "runs")]) == 0
    found = [Run(path) for path in (folder / "runs" / "topics").glob("*-s0-*")]
    return Project(recipe, {str(run.record()["display"]): run for run in found})


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("several")
    llama, bert = str(tiny_llama(folder / "llama")), str(tiny_bert(folder / "bert"))
    network = {"precision": "float32", "training": TRAINING}
    methods = [
        {"kind": "majority"},
        {"kind": "tfidf"},
        {"kind": "embedding", "model": bert},
        {"kind": "lora", "model": llama, "rank": 4, **network},
        {"kind": "full", "model": bert, **network, "training": {**TRAINING, "class_weight": "balanced"}},
    ]
    return project(folder, several, "multi_label", methods)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("tree")
    llama = str(tiny_llama(folder / "llama"))
    network = {"model": llama, "precision": "float32", "max_tokens": 400}
    methods = [
        {"kind": "majority"},
        {"kind": "tfidf"},
        {"kind": "zero_shot", **network},
        {"kind": "lora", "rank": 4, **network, "head": {"kind": "label"}, "training": TRAINING},
    ]
    return project(folder, paths, "hierarchical", methods)


def sets_of(run: Run, split: str, column: str) -> np.ndarray:
    return SEVERAL.indicator(run.predictions(split)[column].to_list(), LABELS)


def probs_of(run: Run, split: str) -> np.ndarray:
    return run.predictions(split).select([f"prob_{label}" for label in LABELS]).to_numpy()


@pytest.mark.parametrize("name", ["majority", "tfidf", "embedding", "lora", "full"])
def test_a_run_stores_the_problem_and_thresholds_chosen_on_validation(name: str, topics: Project) -> None:
    run = topics.runs[name]
    record = run.record()
    assert record["task"]["problem"] == {"kind": "multi_label", "separator": "|", "none": "(none)"}
    manifest = json.loads((run.path / "model" / "classifier.json").read_text())
    assert manifest["problem_type"] == "multi_label"
    best = best_thresholds(probs_of(run, "validation"), sets_of(run, "validation", "gold"))
    assert record["calibration"]["thresholds"] == dict(zip(LABELS, best, strict=True))
    assert manifest["thresholds"] == list(best)
    for split in ("validation", "test"):
        np.testing.assert_array_equal(sets_of(run, split, "predicted"), probs_of(run, split) >= np.array(best))


@pytest.mark.parametrize("name", ["majority", "tfidf", "embedding", "lora", "full"])
def test_metrics_are_scikit_learns_on_the_prediction_file(name: str, topics: Project, adjudge: Call) -> None:
    run = topics.runs[name]
    gold, predicted = sets_of(run, "test", "gold"), sets_of(run, "test", "predicted")
    found = run.metrics()["test"]
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert found["hamming_loss"] == pytest.approx(reference.hamming_loss(gold, predicted))
    for average in ("micro", "weighted"):
        assert found[f"{average}_f1"] == pytest.approx(reference.f1_score(gold, predicted, average=average))
    answer = adjudge("evaluate", run.path, "--check")
    assert answer.status == 0, answer.err
    assert "hamming_loss" in answer.out
    assert "micro_f1" in answer.out


def test_words_that_tell_their_labels_are_learned(topics: Project) -> None:
    assert topics.runs["tfidf"].metrics()["test"]["macro_f1"] > 0.95


@pytest.mark.parametrize("name", ["majority", "tfidf", "embedding", "lora", "full"])
def test_a_loaded_classifier_answers_a_text_alike_alone_and_among_others(name: str, topics: Project) -> None:
    run = topics.runs[name]
    classifier = load_classifier(run.path / "model")
    texts = [text for text, _ in several(60, 3)]
    together = classifier.predict_proba(texts)
    alone = np.concatenate([classifier.predict_proba([text]) for text in texts[:6]])
    np.testing.assert_allclose(alone, together[:6], atol=1e-5)
    np.testing.assert_allclose(together, probs_of(run, "test"), atol=1e-5)
    assert classifier.predict(texts) == run.predictions("test")["predicted"].to_list()


def test_prediction_writes_sets_and_a_probability_for_each_label(
    topics: Project, adjudge: Call, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new.csv", [("late parcel phone rude", "1"), ("w1", "2"), ("", "3")], ("text", "key"))
    answer = adjudge("predict", topics.runs["tfidf"].path, tmp_path / "new.csv", "-o", tmp_path / "out.csv")
    assert answer.status == 0, answer.err
    found = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert [row["label"] for row in found] == ["delivery|service", "(none)", ""]
    assert list(found[0]) == ["text", "key", "label", "confidence", *(f"prob_{label}" for label in LABELS)]
    chances = [float(found[0][f"prob_{label}"]) for label in LABELS]
    assert float(found[0]["confidence"]) == pytest.approx(chances[0] * (1 - chances[1]) * chances[2], rel=1e-5)


def test_runs_with_several_labels_are_compared_shown_and_reported(
    topics: Project, adjudge: Call, tmp_path: Path
) -> None:
    runs = topics.recipe.parent / "runs" / "topics"
    answer = adjudge("compare", runs, "--json", "--report", tmp_path / "r.html")
    assert answer.status == 0, answer.err
    found = json.loads(answer.out)
    run, best = topics.runs["lora"], topics.runs["tfidf"]
    test = next(one for one in found["differences"] if one["metric"] == "macro_f1" and "lora" in one["label"])
    scores = [one.metrics()["test"]["macro_f1"] for one in (run, best)]
    assert test["difference"] == pytest.approx(scores[0] - scores[1])
    assert any("whole set" in note for note in found["notes"])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Most confident mistakes" in page
    assert "Most frequent confusions" not in page
    shown = adjudge("show", run.path).out
    assert "multi_label" in shown
    assert "thresholds" in shown


def test_the_gate_and_the_plan_take_several_labels(topics: Project, adjudge: Call) -> None:
    answer = adjudge("check", topics.recipe.parent / "task.yaml", "--json")
    assert answer.status == 0, answer.err
    counted = json.loads(answer.out)["splits"]["test"]["labels"]
    held = sets_of(topics.runs["tfidf"], "test", "gold").sum(axis=0)
    assert counted == dict(zip(LABELS, held.tolist(), strict=True))
    assert adjudge("plan", topics.recipe).status == 0


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{kind: zero_shot, model: llama}", "zero_shot: scoring labels against each other gives one label"),
        ("{kind: few_shot, model: llama}", "few_shot: scoring labels against each other gives one label"),
        ("{kind: lora, model: llama, head: {kind: label}}", "lora: head: label gives one label"),
        ("{kind: lora, model: llama, training: {curriculum: loss}}", "lora: curriculum: loss gives one label"),
    ],
)
def test_what_gives_one_label_alone_is_refused_before_anything_runs(
    method: str, said: str, topics: Project, adjudge: Call, tmp_path: Path
) -> None:
    answer = adjudge("run", topics.recipe, "--set", f"methods=[{method}]", "--runs", tmp_path / "runs")
    assert answer.status == 2
    assert said in answer.err
    assert "use majority, tfidf or embedding" in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_vote_of_sets_is_verified_compared_and_predicts(topics: Project, adjudge: Call, tmp_path: Path) -> None:
    first, second = topics.runs["tfidf"].path, topics.runs["lora"].path
    answer = adjudge("ensemble", first, second, "-o", tmp_path / "vote", "--weights", "validation")
    assert answer.status == 0, answer.err
    assert "McNemar" in answer.out
    assert adjudge("verify", tmp_path / "vote").status == 0
    assert adjudge("evaluate", tmp_path / "vote", "--check").status == 0
    answer = adjudge("compare", tmp_path / "vote", first, second, "--report", tmp_path / "r.html")
    assert answer.status == 0, answer.err
    assert "thresholds" in adjudge("show", tmp_path / "vote").out
    write_csv(tmp_path / "new.csv", [("late parcel phone rude", "1")], ("text", "key"))
    assert adjudge("predict", tmp_path / "vote", tmp_path / "new.csv", "-o", tmp_path / "out.csv").status == 0
    found = next(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert found["label"] == "delivery|service"


@pytest.mark.parametrize("name", ["majority", "tfidf", "zero_shot", "lora"])
def test_a_trees_metrics_are_recomputed_from_its_files(name: str, tree: Project, adjudge: Call) -> None:
    run = tree.runs[name]
    assert run.record()["task"]["problem"] == {"kind": "hierarchical", "separator": " > "}
    found, table = run.metrics()["test"], run.predictions("test")
    tops = [table[column].str.split(" > ").list.first() for column in ("gold", "predicted")]
    assert found["levels"][0]["accuracy"] == pytest.approx(reference.accuracy_score(*tops))
    assert found["levels"][1]["accuracy"] == pytest.approx(found["accuracy"])
    answer = adjudge("evaluate", run.path, "--check")
    assert answer.status == 0, answer.err
    assert "level 1 macro_f1" in answer.out
    assert "hierarchical f1" in answer.out


def test_the_answers_at_all_levels_are_one_path(tree: Project, adjudge: Call, tmp_path: Path) -> None:
    rows = [*((text, "") for text, _ in paths(20, 7)), ("nothing known", ""), ("", "")]
    write_csv(tmp_path / "new.csv", rows, ("text", "note"))
    run = tree.runs["tfidf"]
    assert adjudge("predict", run.path, tmp_path / "new.csv", "-o", tmp_path / "out.parquet").status == 0
    found = pl.read_parquet(tmp_path / "out.parquet")
    nodes = {"goods": ["goods > food", "goods > tools"], "service": ["service > phone"], "other": ["other"]}
    for row in found.head(21).iter_rows(named=True):
        top = row["label"].split(" > ")[0]
        assert row["label_level_1"] == top
        assert row["label_level_2"] == (None if row["label"] == "other" else row["label"])
        sums = {node: sum(row[f"prob_{leaf}"] for leaf in leaves) for node, leaves in nodes.items()}
        assert row["confidence_level_1"] == pytest.approx(sums[top], rel=1e-5)
        assert top == max(sums, key=lambda node: sums[node])
        assert row["confidence_level_1"] >= row["confidence"] - 1e-6
    assert found.row(21, named=True)["label_level_1"] is None
    assert found["label"].head(20).to_list() == [label for _, label in paths(20, 7)]


def test_each_level_abstains_by_itself(tree: Project, adjudge: Call, tmp_path: Path) -> None:
    write_csv(tmp_path / "new.csv", [("bread hammer", ""), ("bread milk cake", "")], ("text", "note"))
    run = tree.runs["tfidf"]
    command = ("predict", run.path, tmp_path / "new.csv", "-o", tmp_path / "out.csv", "--min-confidence", "0.5")
    assert adjudge(*command).status == 0
    first = next(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert (first["label"], first["label_level_1"], first["label_level_2"]) == ("", "goods", "")
    assert float(first["confidence_level_1"]) > 0.5 > float(first["confidence_level_2"])


def test_a_label_at_an_inner_node_stops_a_run(tree: Project, adjudge: Call, tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [*paths(40, 1), ("bread and hammers", "goods")], ("text", "topic"))
    (tmp_path / "r.yaml").write_text(
        "task: {name: t, label: topic, problem: hierarchical, data: {train: train.csv}}\nmethods: [{kind: majority}]\n"
    )
    answer = adjudge("run", tmp_path / "r.yaml", "--runs", tmp_path / "runs")
    assert answer.status == 2
    assert "'goods' ends at an inner node" in answer.err


def test_an_ensemble_of_trees_descends_too(
    tree: Project, adjudge: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))
    first, second = tree.runs["tfidf"].path, tree.runs["zero_shot"].path
    answer = adjudge("ensemble", first, second, "-o", tmp_path / "vote")
    assert answer.status == 0, answer.err
    classifier = load_classifier(tmp_path / "vote" / "model")
    assert classifier.decision.problem.hierarchical
    assert "hierarchical" in Run(tmp_path / "vote").metrics()["test"]
