"""What is made from runs whose labels are paths, that were trained on several tasks, or whose head writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from adjudge.cli import main
from adjudge.core.errors import ConfigError, DataError, WorkError
from adjudge.core.hierarchy import descend, levels
from adjudge.core.problem import Problem
from adjudge.core.runs import Run
from adjudge.derive import export as export_module
from adjudge.derive.adopt import import_run
from adjudge.derive.combine import combine_runs
from adjudge.derive.distil import DistilOptions, distil_run
from adjudge.derive.export import export_run, run_script
from adjudge.derive.merge import merge_run
from adjudge.derive.vote import ensemble_runs
from adjudge.evaluate.predictions import evaluate_run
from adjudge.models.classifiers.storage import load_classifier
from tests.derive.kinds_of_runs import SIZES, TRAINING, TREE, make_runs, paths, several, task_file
from tests.tiny_models import tiny_bert, tiny_llama

pytestmark = pytest.mark.slow  # whole runs, and what is made of them

LABELS = tuple(sorted(TREE))
TREES = Problem(kind="hierarchical")
TEXTS = ["bread saw", "", "rain", "milk " * 300]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    tiny_llama(folder / "llama")
    tiny_bert(folder / "bert")
    task_file(folder, "paths", {name: paths(*size) for name, size in SIZES.items()}, "hierarchical")
    return folder


@pytest.fixture(scope="module")
def lora(root: Path) -> dict:
    return {"kind": "lora", "model": str(root / "llama"), "rank": 4, "precision": "float32", "training": TRAINING}


@pytest.fixture(scope="module")
def trees(root: Path, lora: dict) -> dict[str, Run]:
    first = {"kind": "full", "model": str(root / "bert"), "precision": "float32", "training": TRAINING}
    methods = [
        {"kind": "tfidf"},
        {**lora, "name": "score", "head": {"bias": False}},
        {**lora, "name": "label", "head": "label"},
        {**lora, "name": "other", "head": "label", "training": {**TRAINING, "batch_size": 8}},
        {**first, "name": "first", "head": {"pooling": "first"}},
    ]
    return make_runs(root, methods, "paths.yaml")


@pytest.fixture(scope="module")
def joint(root: Path, lora: dict) -> dict[str, Run]:
    """Two tasks, of which one is a tree and one has several labels, on one adapter."""
    task_file(root, "sets", {name: several(*size) for name, size in SIZES.items()}, "multi_label")
    return make_runs(root, [{**lora, "name": "lora"}], "paths.yaml", "sets.yaml")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    from adjudge.models.exchange.card import Parity

    monkeypatch.setattr(export_module, "_check", lambda *_: Parity(16, 0.0, 1e-4))


def assert_descends(made: Run) -> None:
    """Answers are read down the tree, and the numbers are those of every level."""
    assert made.record()["task"]["problem"]["kind"] == "hierarchical"
    table = made.predictions("test")
    probs = table.select([f"prob_{label}" for label in LABELS]).to_numpy()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    expected = [LABELS[i] for i in descend(probs, levels(LABELS, TREES))]
    assert table["predicted"].to_list() == expected
    assert made.metrics() == evaluate_run(made)
    assert len(made.metrics()["test"]["levels"]) == 2
    again = load_classifier(made.path / "model")
    texts = dict(made.texts().select("row_id", "text").iter_rows())  # type: ignore[union-attr]
    answered = [texts[row] for row in table["row_id"]]
    np.testing.assert_allclose(again.predict_proba(answered), probs, atol=1e-5)
    assert again.predict(answered) == expected


@pytest.mark.parametrize("head", ["score", "label"])
def test_a_merged_tree(head: str, trees: dict[str, Run], tmp_path: Path, fast_verify: None) -> None:
    made = merge_run(trees[head], tmp_path / "merged", weights="float32")
    assert_descends(made)
    before, after = load_classifier(trees[head].path / "model"), load_classifier(made.path / "model")
    np.testing.assert_allclose(after.predict_proba(TEXTS), before.predict_proba(TEXTS), atol=1e-5)


def test_combined_trees_and_a_vote_of_trees(trees: dict[str, Run], tmp_path: Path, fast_verify: None) -> None:
    assert_descends(combine_runs([trees["label"], trees["other"]], "ties", tmp_path / "ties"))
    vote = ensemble_runs([trees["tfidf"], trees["label"]], tmp_path / "vote", weighting="validation")
    assert_descends(vote)
    manifest = json.loads((vote.path / "model" / "classifier.json").read_text())
    assert manifest["problem_type"] == "hierarchical"


def test_a_student_of_a_tree(trees: dict[str, Run], root: Path, tmp_path: Path, fast_verify: None) -> None:
    """Paths are written with and without spaces around the separator."""
    table = paths(30, 9).with_columns(pl.col("topic").str.replace(" > ", "  >  "))
    table.write_csv(tmp_path / "texts.csv")
    options = DistilOptions(settings=(f"model={root / 'bert'}", "training.epochs=1.0", "precision=float32"))
    made = distil_run(trees["tfidf"], tmp_path / "texts.csv", tmp_path / "student", options)
    assert_descends(made)


def test_an_exported_tree_says_how_it_is_read(trees: dict[str, Run], tmp_path: Path, unchecked: None) -> None:
    export_run(trees["label"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "adjudge.json").read_text())["problem_type"] == "hierarchical"
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for expected in ("One of 3 paths in a tree", "descends from the top", "`goods > food`"):
        assert expected in card


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("label", "huggingface"), ("label", "gguf"), ("score", "onnx")])
def test_an_exported_trees_script_answers_as_the_run(
    name: str, kind: str, trees: dict[str, Run], tmp_path: Path
) -> None:
    export_run(trees[name], tmp_path / "out", kind=kind)  # type: ignore[arg-type]
    expected = load_classifier(trees[name].path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=1e-4)


def test_an_exported_tree_can_be_imported(
    trees: dict[str, Run], root: Path, tmp_path: Path, unchecked: None, fast_verify: None
) -> None:
    export_run(trees["first"], tmp_path / "out")
    made = import_run(tmp_path / "out", root / "paths.yaml", tmp_path / "run")
    assert_descends(made)
    exported, again = (load_classifier(run.path / "model") for run in (trees["first"], made))
    again.temperature = 1.0  # the first one's is in the head
    np.testing.assert_allclose(again.predict_proba(TEXTS), exported.predict_proba(TEXTS), atol=1e-4)


def test_an_imported_adapter_answers_with_paths(root: Path, tmp_path: Path, fast_verify: None) -> None:
    """A causal adapter without a head: the paths are the label words."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(root / "llama", dtype=torch.float32)
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    task = task_file(tmp_path, "paths", {name: paths(*size) for name, size in SIZES.items()}, "hierarchical")
    task.write_text(task.read_text() + f"labels: {json.dumps(LABELS)}\n")
    assert_descends(import_run(tmp_path / "adapter", task, tmp_path / "run"))


def test_a_jointly_trained_run_is_a_run_like_any_other(
    joint: dict[str, Run], root: Path, tmp_path: Path, unchecked: None, fast_verify: None
) -> None:
    tree, sets = joint["paths lora"], joint["sets lora"]
    for run in (tree, sets):
        made = merge_run(run, tmp_path / f"merged-{run.record()['task']['name']}", weights="float32")
        before, after = load_classifier(run.path / "model"), load_classifier(made.path / "model")
        np.testing.assert_allclose(after.predict_proba(TEXTS), before.predict_proba(TEXTS), atol=1e-5)
        assert (after.labels, after.decision.problem) == (before.labels, before.decision.problem)
        assert made.record()["facts"]["paired"][0]["changed"] == 0
    export_run(sets, tmp_path / "out")
    assert "Learnt together with other tasks, whose data are not listed: `paths`." in (
        (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    )
    paths(20, 9).write_csv(tmp_path / "texts.csv")
    options = DistilOptions(settings=(f"model={root / 'bert'}", "training.epochs=1.0", "precision=float32"))
    student = distil_run(tree, tmp_path / "texts.csv", tmp_path / "student", options)
    assert_descends(student)
    assert "joint" not in student.record()["config"]


def test_runs_of_different_tasks_are_not_mixed(joint: dict[str, Run], tmp_path: Path) -> None:
    pair = [joint["paths lora"], joint["sets lora"]]
    for make in (lambda: ensemble_runs(pair, tmp_path / "x"), lambda: combine_runs(pair, "linear", tmp_path / "x")):
        with pytest.raises(DataError) as error:
            make()
        said = str(error.value)
        assert "different labels" in said
        assert "different problems: hierarchical, multi_label" in said
    assert not (tmp_path / "x").exists()


def test_two_tasks_with_the_same_words_for_their_labels_are_not_mixed(root: Path, lora: dict, tmp_path: Path) -> None:
    """The same texts, the same label names, another question."""
    tables = {name: several(*size).with_row_index("at") for name, size in SIZES.items()}
    for name, step in (("one", 2), ("two", 3)):
        asked = {
            split: table.with_columns(
                topic=pl.when(pl.col("at") % step == 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
            )
            for split, table in tables.items()
        }
        task_file(tmp_path, name, asked, "single_label")
    both = make_runs(tmp_path, [{**lora, "name": "lora"}], "one.yaml", "two.yaml")
    with pytest.raises(DataError, match="different gold labels of the same validation rows; take runs of one task"):
        ensemble_runs(list(both.values()), tmp_path / "vote")


@pytest.fixture(scope="module")
def writing(root: Path, lora: dict) -> dict[str, Run]:
    """On a base with a language-model head of its own, and on one where it is the token table."""
    tied = tiny_llama(root / "tied")
    config, weights = json.loads((tied / "config.json").read_text()), load_file(tied / "model.safetensors")
    (tied / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    save_file({name: part for name, part in weights.items() if name != "lm_head.weight"}, tied / "model.safetensors")
    training = {**TRAINING, "learning_rate": 0.002}
    writes = {**lora, "head": "generate", "training": training}
    return make_runs(root, [{**writes, "name": "own"}, {**writes, "name": "tied", "model": str(tied)}], "paths.yaml")


def test_a_head_that_writes_is_verified_and_refused_in_one_line_by_what_carries_scores(
    writing: dict[str, Run], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (str(run.path) for run in writing.values())
    paths(20, 9).write_csv(tmp_path / "texts.csv")
    out = tmp_path / "out"
    for command in (
        ("combine", one, two),
        ("ensemble", one, two),
        ("distil", one, str(tmp_path / "texts.csv")),
    ):
        assert main([*command, "-o", str(out)]) == 2, command
        said = capsys.readouterr().err
        assert "its answers are read off replies (head: generate)" in said
        assert "run its recipe with head: label" in said
        assert not out.exists()
    assert main(["evaluate", one, "--check"]) == 0
    assert main(["compare", one, two]) == 0
    assert main(["predict", one, str(tmp_path / "texts.csv"), "-o", str(tmp_path / "answers.csv")]) == 0


@pytest.mark.parametrize("head", ["own", "tied"])
def test_a_merged_run_writes_the_same_replies(
    head: str, writing: dict[str, Run], tmp_path: Path, fast_verify: None
) -> None:
    source = writing[head]
    made = merge_run(source, tmp_path / "merged", weights="float32")
    for split in ("validation", "test"):
        before, after = source.predictions(split), made.predictions(split)  # type: ignore[arg-type]
        for column in ("reply", "predicted", "parse_status"):
            assert after[column].to_list() == before[column].to_list()
        for label in LABELS:
            np.testing.assert_allclose(after[f"prob_{label}"], before[f"prob_{label}"], atol=1e-5)
    assert made.metrics() == evaluate_run(made)
    assert made.record()["facts"]["generation"] == source.record()["facts"]["generation"]
    (test,) = made.record()["facts"]["paired"]
    assert (test["changed"], test["mcnemar_p"]) == (0, 1.0)


def replies_of(run: Run) -> list[dict[str, str | None]]:
    found = load_classifier(run.path / "model").replies(TEXTS)
    return [{"reply": reply.text, "label": reply.label} for reply in found]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("own", "huggingface"),
        ("tied", "huggingface"),
        ("own", "adapter"),
        ("tied", "gguf"),
    ],
)
def test_an_exported_run_that_writes_replies_as_the_run(
    head: str, kind: str, writing: dict[str, Run], tmp_path: Path
) -> None:
    run = writing[head]
    facts = export_run(run, tmp_path / "out", kind=kind)  # type: ignore[arg-type]
    assert facts["parity"]["different_replies"] == 0
    assert "temperature" not in facts
    assert run_script(tmp_path / "out", TEXTS) == replies_of(run)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "it writes a reply, and there are no probabilities" in card
    assert "0 replies differ" in card
    assert "log_loss" not in card
    unread = run.metrics()["test"]["unparsed"]
    assert (f"{unread} replies stood for no label" in card) == (unread > 0)


def test_a_merged_run_that_writes_is_exported(writing: dict[str, Run], tmp_path: Path, fast_verify: None) -> None:
    made = merge_run(writing["tied"], tmp_path / "merged", weights="float32")
    export_run(made, tmp_path / "out")
    assert run_script(tmp_path / "out", TEXTS) == replies_of(made)


def test_a_run_that_replies_otherwise_when_exported_fails(
    writing: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"reply": "nothing of the kind", "label": None}
    monkeypatch.setattr(export_module, "run_script", lambda folder, texts: [other] * len(texts))
    with pytest.raises(WorkError, match=r"'nothing of the kind', the run .*; nothing was written"):
        export_run(writing["own"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=r"needs head\.kind 'score'"):
        export_run(writing["own"], tmp_path / "out", kind="onnx")


@pytest.mark.slow
@pytest.mark.parametrize(("head", "base"), [("own", "llama"), ("tied", "tied")])
def test_a_merged_run_writes_the_same_in_a_fresh_process(
    head: str, base: str, writing: dict[str, Run], root: Path, tmp_path: Path
) -> None:
    """In 16 bits, and without the base model."""
    made = merge_run(writing[head], tmp_path / "merged")
    trip = made.record()["facts"]["round_trip"]
    assert (trip["different_replies"], trip["tolerance"]) == (0, 1e-5)
    (root / base).rename(root / "gone")
    try:
        assert main(["verify", str(made.path)]) == 0
    finally:
        (root / "gone").rename(root / base)


def test_a_run_that_writes_is_trained_on(
    writing: dict[str, Run], root: Path, lora: dict, tmp_path: Path, fast_verify: None
) -> None:
    """With a rate of next to nothing it writes the same replies to its old test rows."""
    still = {**lora, "head": "generate", "training": {**TRAINING, "learning_rate": 1e-12}}
    new = {"train": (40, 7), "validation": (30, 8), "test": (30, 9)}
    task_file(tmp_path, "paths", {name: paths(*size) for name, size in new.items()}, "hierarchical")
    old = writing["own"]
    (made,) = make_runs(tmp_path, [still], "paths.yaml", start=old.path).values()
    found = made.record()["facts"]["forgetting"]
    assert (found["run"], found["rows"], found["changed"], found["mcnemar_p"]) == (old.name, 30, 0, 1.0)
    assert found["accuracy"]["before"] == found["accuracy"]["after"] == old.metrics()["test"]["accuracy"]


def test_a_student_does_not_write(trees: dict[str, Run], root: Path, tmp_path: Path) -> None:
    options = DistilOptions("lora", (f"model={root / 'llama'}", "head=generate"))
    with pytest.raises(ConfigError, match="'generate' learns from words"):
        distil_run(trees["tfidf"], tmp_path / "no such file.csv", tmp_path / "student", options)
