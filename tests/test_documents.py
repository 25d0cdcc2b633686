"""What the documents show is run: code blocks, examples and the names they promise."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adjudge.data.gate import CODES
from adjudge.methods import METHODS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
GOOD, BAD = ("lovely", "fresh", "warm", "quick"), ("stale", "cold", "slow", "rude")


def blocks(kind: str) -> list[tuple[str, str]]:
    """(document, code) of every block whose fence says ``kind``."""
    return [
        (document.name, code)
        for document in DOCUMENTS
        for info, code in BLOCK.findall(document.read_text(encoding="utf-8"))
        if info.strip() == kind
    ]


def write_reviews(path: Path, rows: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["review", "rating"])
        for i in range(rows):
            word = (GOOD if i % 3 else BAD)[i % 4]
            writer.writerow([f"visit {i * 7919 % 1009}: table {i % 17} was {word}", "good" if i % 3 else "bad"])


def call(*words: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as a person would, with this environment's commands on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        words, cwd=cwd, input=stdin, text=True, capture_output=True, check=False, env={**os.environ, "PATH": path}
    )


def test_blocks_are_found() -> None:
    assert len(DOCUMENTS) == 10
    assert len(blocks("sh run")) == 1
    assert len(blocks("python")) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("document", "code"), blocks("sh run"))
def test_shell_blocks_run(document: str, code: str, tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", 300)
    write_reviews(tmp_path / "new.csv", 20)
    done = call("bash", "-euo", "pipefail", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, f"{document}\n{done.stdout}\n{done.stderr}"
    with (tmp_path / "labelled.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 20
    assert {row["label"] for row in rows} == {"good", "bad"}
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(("document", "code"), blocks("python"))
def test_python_blocks_run(document: str, code: str, tmp_path: Path) -> None:
    done = call(sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, f"{document}\n{done.stderr}"


@pytest.mark.parametrize("code", [code for _, code in blocks("json")])
def test_json_blocks_are_json(code: str) -> None:
    assert json.loads(code)


def test_yaml_blocks_are_valid_tasks_and_recipes(tmp_path: Path) -> None:
    from adjudge.core.config import parse_scalar, validate
    from adjudge.core.task import Data, Task
    from adjudge.experiment.joint import load_joint
    from adjudge.recipe.recipe import load_recipe, plan

    found = {"task": 0, "recipe": 0, "joint": 0, "data": 0, "training": 0}
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for name in ("reviews", "topic", "urgency"):
        (tasks / f"{name}.yaml").write_text(f"name: {name}\ndata: {{train: {name}.csv}}\n", encoding="utf-8")
    for document, code in blocks("yaml"):
        value = parse_scalar(code)
        recipe = tmp_path / "recipes" / "reviews.yaml"
        recipe.parent.mkdir(exist_ok=True)
        recipe.write_text(code, encoding="utf-8")
        if "tasks" in value:
            found["joint"] += 1
            assert [len(plan(member)) for member in load_joint(recipe).members] == [2, 2]
        elif "methods" in value:
            found["recipe"] += 1
            assert len(plan(load_recipe(recipe))) == 7
        elif "training" in value:
            found["training"] += 1
            validate(METHODS.load("lora").config, {"kind": "lora", **value}, document)
        elif "name" in value:
            found["task"] += 1
            validate(Task, value, document)
        else:
            found["data"] += 1
            validate(Data, value["data"], document)
    assert found == {"task": 3, "recipe": 1, "joint": 1, "data": 4, "training": 1}


def test_guides_name_every_method_and_every_finding() -> None:
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    data = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if f"| `{name}` |" not in methods] == []
    assert set(re.findall(r"^\| `(\w+)` \|", data, flags=re.MULTILINE)) == set(CODES)


def test_commands_and_options_in_documents_exist() -> None:
    from typer.main import get_command

    from adjudge.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = 0
    for document in [*DOCUMENTS, ROOT / "SOURCES.md"]:
        for line in document.read_text(encoding="utf-8").splitlines():
            for name, rest in re.findall(r"\badjudge (?=[a-z])([a-z]+)((?: +(?!#)[^`#]*)?)", line):
                if not re.match(r"^(    |`|.*`adjudge|adjudge )", line):
                    continue
                assert name in commands, f"{document.name}: {line}"
                known = {option for parameter in commands[name].params for option in parameter.opts}
                assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, f"{document.name}: {line}"
                shown += 1
    assert shown >= 20


EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_every_example_is_short_and_has_a_test() -> None:
    assert EXAMPLES == ["check_in_ci.py", "predict_stream.py", "sklearn_grid_search.py"]
    for name in EXAMPLES:
        assert len((ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.slow
def test_the_grid_search_example_runs(tmp_path: Path) -> None:
    done = call(sys.executable, str(ROOT / "examples" / "sklearn_grid_search.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a new review: bad" in done.stdout


@pytest.mark.slow
def test_the_check_example_tells_clean_data_from_a_leak(tmp_path: Path) -> None:
    script = str(ROOT / "examples" / "check_in_ci.py")
    rows = [f"{word} thing number {i},{label}" for i in range(30) for word, label in (("fine", "x"), ("poor", "y"))]
    (tmp_path / "train.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,label\nunseen fine words here,x\nunseen poor words there,y\n")
    clean = call(sys.executable, script, "train.csv", "test.csv", cwd=tmp_path)
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (0, "no errors"), clean.stdout + clean.stderr
    (tmp_path / "test.csv").write_text("text,label\nfine thing number 3,x\nunseen poor words there,y\n")
    leak = call(sys.executable, script, "train.csv", "test.csv", cwd=tmp_path)
    assert (leak.returncode, leak.stdout.splitlines()[-1]) == (1, "1 errors"), leak.stdout + leak.stderr
    assert "overlap" in leak.stdout


@pytest.mark.slow
def test_the_stream_example_labels_each_line(tmp_path: Path) -> None:
    from adjudge import TextClassifier

    texts = [f"table {i} was {word}" for i in range(12) for word in (*GOOD, *BAD)]
    labels = [label for _ in range(12) for label in ["good"] * 4 + ["bad"] * 4]
    TextClassifier("tfidf").fit(texts, labels).save(tmp_path / "run")
    script = str(ROOT / "examples" / "predict_stream.py")
    done = call(sys.executable, script, "run", cwd=tmp_path, stdin="table 3 was rude\ntable 70 was warm\n")
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["bad", "good"]
