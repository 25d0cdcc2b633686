"""Files whose labels are lists, marks or annotations, from the file to a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from adjudge.core.atomic import read_json
from adjudge.core.task import load_task
from tests.cli.conftest import Call, contents, reviews


def write_rows(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_lists_in_cells_become_labels_from_init_to_a_run(here: Path, adjudge: Call) -> None:
    rows = [[text, str([label, "long"] if i % 3 else [label])] for i, (text, label) in enumerate(reviews(90, 1))]
    answer = adjudge("init", write_rows(here / "moods.csv", ["review", "labels"], rows))
    assert answer.status == 0, answer.err
    assert "label 'labels' (3: long, neg, pos)" in answer.out
    assert "note: column 'labels' holds lists: a row may have several labels" in answer.err
    assert adjudge("check", "tasks/moods.yaml").status == 0
    ran = adjudge("run", "recipes/moods.yaml", "--set", "methods=[{kind: tfidf}]")
    assert ran.status == 0, ran.err
    (record,) = (read_json(file) for file in here.rglob("run.json"))
    assert record["task"]["labels"] == ["long", "neg", "pos"]
    assert record["task"]["problem"]["kind"] == "multi_label"


def test_a_column_for_each_label_is_found_and_can_be_named(here: Path, adjudge: Call) -> None:
    texts = [text for text, _ in reviews(60, 1)]
    rows = [[text, i % 2, int(i % 3 == 0), int(i % 5 == 0)] for i, text in enumerate(texts)]
    file = write_rows(here / "comments.csv", ["comment_text", "toxic", "obscene", "insult"], rows)
    answer = adjudge("init", file)
    assert answer.status == 0, answer.err
    assert "label 'toxic, obscene, insult' (3: insult, obscene, toxic)" in answer.out
    task = load_task(Path("tasks/comments.yaml"))
    assert (task.label, task.problem.kind) == (["toxic", "obscene", "insult"], "multi_label")
    assert adjudge("check", "tasks/comments.yaml", "--json").status == 0
    two = adjudge("init", file, "--name", "two", "--label", "toxic", "--label", "insult")
    assert two.status == 0, two.err
    assert load_task(Path("tasks/two.yaml")).label == ["toxic", "insult"]
    one = adjudge("init", file, "--name", "one", "--label", "insult")
    assert "label 'insult' (2: 0, 1)" in one.out


def prodigy(path: Path) -> Path:
    rows = [
        {"text": text, "label": label, "answer": "reject" if i % 6 == 0 else "accept", "_task_hash": i}
        for i, (text, label) in enumerate(reviews(60, 1))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_an_export_is_imported_by_init_with_a_recipe_that_runs(here: Path, adjudge: Call) -> None:
    answer = adjudge("init", prodigy(here / "moods.jsonl"))
    assert answer.status == 0, answer.err
    assert "Prodigy: 50 rows, 2 labels: pos, neg" in answer.out
    assert "left out: 10 rows whose label was rejected" in answer.err
    assert adjudge("run", "recipes/moods.yaml", "--set", "methods=[{kind: majority}]").status == 0
    before = contents(here)
    assert adjudge("init", here / "moods.jsonl").status == 2
    assert contents(here) == before
    direct = adjudge("check", "--train", here / "moods.jsonl")
    assert direct.status == 2
    assert "10 of 60 rows have the answer reject or ignore" in direct.err


def test_an_export_is_imported_as_a_task(here: Path, adjudge: Call) -> None:
    answer = adjudge("import", prodigy(here / "moods.jsonl"), "-o", "tasks", "--name", "mine")
    assert answer.status == 0, answer.err
    assert "next: adjudge check tasks/mine.yaml" in answer.out
    assert adjudge("check", "tasks/mine.yaml").status == 0
    wrong = adjudge("import", here / "moods.jsonl", "-o", "more", "--from", "prodigi")
    assert wrong.status == 2
    assert "did you mean 'prodigy'?" in wrong.err
    assert not Path("more").exists()


@pytest.mark.parametrize("words", [["--text", "t"], ["--label", "l"], ["--from", "prodigy"]])
def test_options_of_files_are_refused_for_folders(words: list[str], here: Path, adjudge: Call) -> None:
    (here / "model").mkdir()
    answer = adjudge("import", "model", "-o", "run", "--task", "task.yaml", *words)
    assert answer.status == 2
    assert "--from, --text and --label are for files of rows" in answer.err


def test_labels_are_mapped_by_the_task_through_a_run(here: Path, adjudge: Call) -> None:
    names = {"neg": ["neg", "neg\u200b", "-"], "pos": ["pos", "Pos"]}
    rows = [[text, names[label][i // 2 % len(names[label])]] for i, (text, label) in enumerate(reviews(120, 1))]
    write_rows(here / "a.csv", ["text", "label"], rows)
    Path("task.yaml").write_text(
        'name: a\nlabel_map: {"neg\\u200b": neg, Pos: pos, "-": null}\n'
        "data: {train: a.csv, accept: [missing_label]}\n",
        encoding="utf-8",
    )
    Path("recipe.yaml").write_text("task: task.yaml\nmethods: [{kind: majority}]\n", encoding="utf-8")
    assert adjudge("run", "recipe.yaml").status == 0
    (record,) = (read_json(file) for file in here.rglob("run.json"))
    assert record["task"]["labels"] == ["neg", "pos"]
    assert record["config"]["task"]["label_map"] == {"neg\u200b": "neg", "Pos": "pos", "-": None}
