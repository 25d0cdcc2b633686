"""What is made from runs whose texts may have several labels: sigmoids, thresholds and whole sets, all the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from adjudge.cli import main
from adjudge.core.errors import ConfigError, DataError, WorkError
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
from adjudge.evaluate.thresholds import best_thresholds
from adjudge.models.classifiers import round_trip as verify
from adjudge.models.classifiers.round_trip import RoundTrip
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.derive.combining import HOWS
from tests.derive.kinds_of_runs import SIZES, TRAINING, WORDS, make_runs, several, task_file
from tests.tiny_models import tiny_bert, tiny_llama

LABELS = tuple(WORDS)
TEXTS = ["late parcel rude", "", "cheap phone [SEP] </s>", "refund " * 300]
SEVERAL = Problem(kind="multi_label")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[str, Run]:
    task_file(root, "topics", {name: several(*size) for name, size in SIZES.items()}, "multi_label")
    llama, bert = str(tiny_llama(root / "llama")), str(tiny_bert(root / "bert"))
    network = {"precision": "float32", "training": TRAINING}
    lora = {"kind": "lora", "model": llama, "rank": 4, **network}
    return make_runs(
        root,
        [
            {"kind": "tfidf"},
            {**lora, "name": "lora"},
            {**lora, "name": "no-bias", "head": {"bias": False}, "training": {**TRAINING, "epochs": 2.0}},
            {**lora, "name": "other", "training": {**TRAINING, "batch_size": 8}},
            {"kind": "full", "name": "first", "model": bert, **network, "head": {"pooling": "first"}},
        ],
        "topics.yaml",
    )


def probs_of(run: Run, split: str, what: str = "prob") -> np.ndarray:
    return run.predictions(split).select([f"{what}_{label}" for label in LABELS]).to_numpy()  # type: ignore[arg-type]


def sets_of(run: Run, split: str, column: str) -> np.ndarray:
    return SEVERAL.indicator(run.predictions(split)[column].to_list(), LABELS)  # type: ignore[arg-type]


def assert_sound(made: Run) -> None:
    """Probabilities are sigmoids, thresholds those of validation, answers what they give, metrics what follows."""
    record = made.record()
    best = best_thresholds(probs_of(made, "validation"), sets_of(made, "validation", "gold"))
    assert record["calibration"]["thresholds"] == dict(zip(LABELS, best, strict=True))
    assert record["task"]["problem"]["kind"] == "multi_label"
    for split in ("validation", "test"):
        expected = expit(probs_of(made, split, "logit").astype(float) / record["calibration"]["temperature"])
        np.testing.assert_allclose(probs_of(made, split), expected, atol=1e-6)
        np.testing.assert_array_equal(sets_of(made, split, "predicted"), probs_of(made, split) >= np.array(best))
    assert made.metrics() == evaluate_run(made)
    gold, given = sets_of(made, "test", "gold"), sets_of(made, "test", "predicted")
    assert made.metrics()["test"]["accuracy"] == pytest.approx((gold == given).all(axis=1).mean())
    again = load_classifier(made.path / "model")
    assert again.decision.thresholds == best
    texts = dict(made.texts().select("row_id", "text").iter_rows())  # type: ignore[union-attr]
    answered = [texts[row] for row in made.predictions("test")["row_id"]]
    np.testing.assert_allclose(again.predict_proba(answered), probs_of(made, "test"), atol=1e-5)
    assert again.predict(answered) == made.predictions("test")["predicted"].to_list()


def test_merged_in_float32_it_is_the_same_model(runs: dict[str, Run], tmp_path: Path, fast_verify: None) -> None:
    made = merge_run(runs["lora"], tmp_path / "merged", weights="float32")
    assert_sound(made)
    before, after = load_classifier(runs["lora"].path / "model"), load_classifier(made.path / "model")
    np.testing.assert_allclose(after.predict_proba(TEXTS), before.predict_proba(TEXTS), atol=1e-5)
    assert not np.allclose(after.predict_proba(TEXTS).sum(axis=1), 1)
    (test,) = made.record()["facts"]["paired"]
    assert (test["changed"], test["mcnemar_p"], test["macro_f1"]["difference"]) == (0, 1.0, 0.0)


@pytest.mark.slow
def test_a_merged_run_answers_the_same_in_a_fresh_process(runs: dict[str, Run], tmp_path: Path) -> None:
    made = merge_run(runs["lora"], tmp_path / "merged")
    trip = made.record()["facts"]["round_trip"]
    assert trip["largest_difference"] <= trip["tolerance"] == 1e-5
    assert main(["verify", str(made.path)]) == 0


def test_the_paired_test_is_of_whole_sets_and_of_the_labels_f1(
    runs: dict[str, Run], tmp_path: Path, fast_verify: None
) -> None:
    made = ensemble_runs([runs["tfidf"], runs["lora"]], tmp_path / "vote")
    gold = sets_of(made, "test", "gold")
    right = {run: (sets_of(run, "test", "predicted") == gold).all(axis=1) for run in (made, *runs.values())}
    f1 = {run: f1_score(gold, sets_of(run, "test", "predicted"), average="macro") for run in right}
    for test, member in zip(made.record()["facts"]["paired"], (runs["tfidf"], runs["lora"]), strict=True):
        won, lost = int((right[made] & ~right[member]).sum()), int((right[member] & ~right[made]).sum())
        expected = binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
        assert test["mcnemar_p"] == pytest.approx(expected)
        assert test["accuracy"]["difference"] == pytest.approx(right[made].mean() - right[member].mean())
        assert test["macro_f1"]["difference"] == pytest.approx(f1[made] - f1[member])
    assert main(["compare", str(made.path), str(runs["tfidf"].path)]) == 0


@pytest.mark.parametrize("how", HOWS)
def test_combined_adapters_get_thresholds_of_their_own(
    how: str, runs: dict[str, Run], tmp_path: Path, fast_verify: None
) -> None:
    made = combine_runs([runs["lora"], runs["other"]], how, tmp_path / "one")  # type: ignore[arg-type]
    assert_sound(made)


def test_a_vote_averages_each_labels_probability(runs: dict[str, Run], tmp_path: Path, fast_verify: None) -> None:
    members = [runs["tfidf"], runs["first"]]
    made = ensemble_runs(members, tmp_path / "vote")
    assert_sound(made)
    mean = np.mean([probs_of(run, "test") for run in members], axis=0)
    np.testing.assert_allclose(probs_of(made, "test", "logit"), logit(mean), atol=1e-4)
    weighed = ensemble_runs(members, tmp_path / "weighed", weighting="validation")
    gold = sets_of(made, "validation", "gold")
    chances = np.stack([np.where(gold, p, 1 - p) for p in (probs_of(run, "validation") for run in members)])

    def loss(share: float) -> float:
        return -float(np.log(share * chances[0] + (1 - share) * chances[1]).mean())

    found = weighed.record()["facts"]["weights"][0]
    assert loss(found) <= min(map(loss, np.linspace(0, 1, 101))) + 1e-5


def test_a_student_learns_each_labels_probability(
    runs: dict[str, Run], root: Path, tmp_path: Path, fast_verify: None
) -> None:
    """From texts with sets, without, and with a label that the task does not have."""
    table = several(45, 9).with_row_index()
    rows = table["topic"].to_list()
    cells = [None if i < 15 else "unknown|price" if i < 20 else cell for i, cell in enumerate(rows)]
    table.with_columns(topic=pl.Series(cells)).drop("index").write_csv(tmp_path / "texts.csv")
    fast = ("precision=float32", "training.epochs=12.0", "training.batch_size=8", "training.learning_rate=0.01")
    options = DistilOptions(settings=(f"model={root / 'bert'}", *fast), gold_share=0.0)
    made = distil_run(runs["tfidf"], tmp_path / "texts.csv", tmp_path / "student", options)
    assert_sound(made)
    facts = made.record()["facts"]["distillation"]
    assert (facts["rows"], facts["labelled_rows"]) == (45, 25)
    teacher, student = (load_classifier(run.path / "model") for run in (runs["tfidf"], made))
    student.temperature = 1.0
    texts = table["text"].to_list()
    asked, learned = teacher.predict_proba(texts), student.predict_proba(texts)
    assert np.corrcoef(asked.ravel(), learned.ravel())[0, 1] > 0.8
    np.testing.assert_allclose(learned.mean(axis=0), asked.mean(axis=0), atol=0.1)


@pytest.mark.parametrize(
    ("head", "message"), [("label", "head: label gives one label"), ("generate", "'generate' learns from words")]
)
def test_a_student_that_cannot_learn_it_is_refused_at_once(
    head: str, message: str, runs: dict[str, Run], root: Path, tmp_path: Path
) -> None:
    options = DistilOptions("lora", (f"model={root / 'llama'}", f"head={head}"))
    with pytest.raises(ConfigError, match=message):
        distil_run(runs["tfidf"], tmp_path / "no such file.csv", tmp_path / "student", options)
    assert list(tmp_path.iterdir()) == []


FORMS = {"lora": "states", "no-bias": "sequence", "first": "sequence"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("kind", ["huggingface", "onnx"])
def test_the_shipped_script_answers_as_the_run(name: str, kind: str, runs: dict[str, Run], tmp_path: Path) -> None:
    facts = export_run(runs[name], tmp_path / "out", kind=kind)  # type: ignore[arg-type]
    assert facts["form"] == (FORMS[name] if kind == "huggingface" else kind)
    expected = load_classifier(runs[name].path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=1e-4)


@pytest.mark.slow
def test_an_adapter_alone_answers_as_the_run(runs: dict[str, Run], tmp_path: Path) -> None:
    export_run(runs["lora"], tmp_path / "out", kind="adapter")
    expected = load_classifier(runs["lora"].path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=1e-4)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    from adjudge.models.exchange.card import Parity

    monkeypatch.setattr(export_module, "_check", lambda *_: Parity(16, 0.0, 1e-4))


@pytest.mark.parametrize("name", ["no-bias", "first"])
def test_plain_transformers_takes_it_for_several_labels(
    name: str, runs: dict[str, Run], tmp_path: Path, unchecked: None
) -> None:
    """Sigmoids in the pipeline, binary cross-entropy in the model."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    export_run(runs[name], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["problem_type"] == "multi_label_classification"
    expected = load_classifier(runs[name].path / "model").predict_proba(TEXTS[:3])
    classify = pipeline("text-classification", str(tmp_path / "out"), device="cpu", top_k=None)
    for found, row in zip(classify(TEXTS[:3], batch_size=3), expected, strict=True):
        given = {one["label"]: one["score"] for one in found}
        np.testing.assert_allclose([given[label] for label in LABELS], row, atol=1e-4)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    batch = AutoTokenizer.from_pretrained(tmp_path / "out")(TEXTS[:1], return_tensors="pt")
    gold = torch.tensor([[1.0, 0.0, 1.0]])
    with torch.inference_mode():
        loss = float(model(**batch, labels=gold).loss)
    chances = np.where(gold.numpy()[0] == 1, expected[0], 1 - expected[0])
    assert loss == pytest.approx(-float(np.log(chances).mean()), abs=1e-3)


def test_an_export_says_sigmoid_and_thresholds(runs: dict[str, Run], tmp_path: Path, unchecked: None) -> None:
    run = runs["lora"]
    thresholds = run.record()["calibration"]["thresholds"]
    export_run(run, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "adjudge.json").read_text())
    assert (facts["problem_type"], facts["thresholds"]) == ("multi_label", list(thresholds.values()))
    assert json.loads((tmp_path / "out" / "head.json").read_text())["activation"] == "sigmoid"
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for label, threshold in thresholds.items():
        assert f"`{label}`, from a probability of {threshold:.6g} on" in card
    for expected in ("Any number of 3 labels", "(sigmoid)", "| hamming_loss |", "right as a whole", "none where none"):
        assert expected in card
    assert "One of" not in card


@pytest.mark.slow
def test_the_onnx_graph_says_how_it_answers(runs: dict[str, Run], tmp_path: Path, unchecked: None) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export_run(runs["first"], tmp_path / "out", kind="onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    found = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    thresholds = list(runs["first"].record()["calibration"]["thresholds"].values())
    assert found["labels"] == list(LABELS)
    assert (found["activation"], found["problem_type"]) == ("sigmoid", "multi_label")
    assert found["thresholds"] == thresholds
    assert found.items() <= json.loads((tmp_path / "out" / "onnx.json").read_text()).items()


def test_a_language_model_file_is_refused(runs: dict[str, Run], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"needs head\.kind 'label' or 'generate'\. Export a score head to Hugging Face or ONNX"
    ):
        export_run(runs["lora"], tmp_path / "out", kind="gguf")
    assert list(tmp_path.iterdir()) == []


def test_what_was_exported_can_be_imported(
    runs: dict[str, Run], root: Path, tmp_path: Path, unchecked: None, fast_verify: None
) -> None:
    export_run(runs["first"], tmp_path / "out")
    made = import_run(tmp_path / "out", root / "topics.yaml", tmp_path / "run")
    assert_sound(made)
    exported, again = (load_classifier(run.path / "model") for run in (runs["first"], made))
    again.temperature = 1.0  # the first one's is in the head
    np.testing.assert_allclose(again.predict_proba(TEXTS), exported.predict_proba(TEXTS), atol=1e-4)


def test_a_model_of_another_problem_is_not_imported(
    runs: dict[str, Run], root: Path, tmp_path: Path, unchecked: None
) -> None:
    export_run(runs["first"], tmp_path / "out")
    single = several(*SIZES["train"]).with_columns(topic=pl.Series([LABELS[i % 3] for i in range(60)]))
    task = task_file(tmp_path, "single", {"train": single}, "single_label")
    with pytest.raises(ConfigError, match=r"'multi_label_classification'.*give the task `problem: multi_label`"):
        import_run(tmp_path / "out", task, tmp_path / "run")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    (tmp_path / "out" / "config.json").write_text(json.dumps({**config, "problem_type": "regression"}))
    with pytest.raises(ConfigError, match=r"'regression'.*a model that classifies"):
        import_run(tmp_path / "out", root / "topics.yaml", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_adapter_without_a_head_gives_no_sets(root: Path, tmp_path: Path, runs: dict[str, Run]) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(root / "llama", dtype=torch.float32)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(
        tmp_path / "adapter"
    )
    tables = {name: several(*size) for name, size in SIZES.items()}
    task = task_file(tmp_path, "topics", tables, "multi_label")
    task.write_text(task.read_text() + f"labels: [{', '.join(LABELS)}]\n")
    with pytest.raises(ConfigError, match="one label to each text, and the task is multi_label"):
        import_run(tmp_path / "adapter", task, tmp_path / "run")


def test_other_thresholds_are_noticed(runs: dict[str, Run], tmp_path: Path, capsys, monkeypatch) -> None:
    """A threshold moves no probability, so it is looked at by itself."""
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(runs["tfidf"].path, copy)
    fitted = load_classifier(copy / "model")
    manifest = json.loads((copy / "model" / "classifier.json").read_text())
    (copy / "model" / "classifier.json").write_text(json.dumps({**manifest, "thresholds": [0.99, 0.99, 0.99]}))
    with pytest.raises(WorkError, match="what decides is"):
        verify.verify_saved(fitted, copy / "model", TEXTS)
    monkeypatch.setattr(verify, "verify_saved", lambda *_, **__: RoundTrip(1, 0.0, 1e-5))
    assert main(["verify", str(copy)]) == 1
    assert "the saved thresholds" in capsys.readouterr().err
    assert main(["verify", str(runs["tfidf"].path)]) == 0


def test_runs_of_one_label_and_of_several_cannot_vote(runs: dict[str, Run], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(runs["tfidf"].path, copy)
    record = json.loads((copy / "run.json").read_text())
    record["task"]["problem"] = {"kind": "hierarchical"}
    (copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="different problems: hierarchical, multi_label"):
        ensemble_runs([Run(copy), runs["lora"]], tmp_path / "vote")


@pytest.mark.slow
def test_a_run_with_several_labels_is_trained_on(runs: dict[str, Run], root: Path, fast_verify: None) -> None:
    """Its old test rows are answered as the new classifier answers them, with thresholds of its own."""
    still = {"kind": "lora", "model": str(root / "llama"), "rank": 4, "precision": "float32"}
    still["training"] = {**TRAINING, "learning_rate": 1e-12}
    new = {"train": (40, 7), "validation": (30, 8), "test": (30, 9)}
    folder = root / "new"
    folder.mkdir()
    tables = {name: several(*size) for name, size in new.items()}
    cells = pl.col("topic").str.replace_all("|", ";", literal=True).str.replace("(none)", "-", literal=True)
    written = {"kind": "multi_label", "separator": ";", "none": "-"}  # the new data write sets another way
    task_file(folder, "topics", {name: table.with_columns(cells) for name, table in tables.items()}, written)
    (made,) = make_runs(folder, [still], "topics.yaml", start=runs["lora"].path).values()
    found, old = made.record()["facts"]["forgetting"], runs["lora"].metrics()["test"]
    assert (found["run"], found["rows"], found["left_out_rows"]) == (runs["lora"].name, 30, 0)
    for metric in ("accuracy", "macro_f1"):
        assert found[metric]["before"] == pytest.approx(old[metric])
        assert found[metric]["difference"] == pytest.approx(found[metric]["after"] - found[metric]["before"])
    rows = runs["lora"].texts()
    assert rows is not None
    test = runs["lora"].predictions("test").join(rows.filter(pl.col("split") == "test"), on="row_id")
    answers = load_classifier(made.path / "model").predict(test["text"].to_list())
    new_way = Problem(**written)  # type: ignore[arg-type]
    right = [
        set(new_way.split(answer)) == set(SEVERAL.split(gold))
        for answer, gold in zip(answers, test["gold"], strict=True)
    ]
    assert found["accuracy"]["after"] == pytest.approx(np.mean(right))
    start = runs["lora"].predictions("test").select("^logit_.*$").to_numpy()
    logits = load_classifier(made.path / "model").predict_logits(test["text"].to_list())
    np.testing.assert_allclose(logits, start, atol=1e-4)
