"""Exported folders: the right form, the same answers without adjudge, and a card that says what it is."""

from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml

from adjudge.core.errors import ConfigError, UsageError, WorkError
from adjudge.derive import export as module
from adjudge.derive.export import export_run, run_script
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.exchange import huggingface
from adjudge.models.exchange.huggingface import SCRIPT
from adjudge.prompts.replies import ReplyParser
from tests.tiny_runs import TinyRuns

TEXTS = ["good day", "", "bad film </s> [SEP] <s>", "the room was quite warm again " * 80]
FORMS = {"score": "states", "no-bias": "sequence", "label": "causal", "mean": "states", "first": "sequence"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMS))
def test_the_shipped_script_answers_as_the_run(name: str, tiny_runs: TinyRuns, tmp_path: Path) -> None:
    """Special tokens in a text, no text and a text that is cut: all give the trained ids."""
    facts = export_run(tiny_runs[name], tmp_path / "out")
    assert facts["form"] == FORMS[name]
    assert facts["parity"]["largest_difference"] <= facts["parity"]["tolerance"] == 1e-4
    assert "adjudge" not in (tmp_path / "out" / SCRIPT).read_text()
    expected = load_classifier(tiny_runs[name].path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["score", "label"])
def test_an_adapter_alone_answers_as_the_run(name: str, tiny_runs: TinyRuns, tmp_path: Path) -> None:
    export_run(tiny_runs[name], tmp_path / "out", kind="adapter")
    expected = load_classifier(tiny_runs[name].path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=1e-4)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the fresh process out: what the script answers is what the run's classifier answers."""
    from adjudge.experiment.source_runs import SourceRun
    from adjudge.models.classifiers.neural import NeuralClassifier
    from adjudge.models.exchange.card import Parity

    def check(folder: Path, classifier: NeuralClassifier, source: SourceRun, tolerance: float) -> Parity:
        assert (folder / SCRIPT).is_file()
        return Parity(16, 0.0, tolerance)

    monkeypatch.setattr(module, "_check", check)


def test_the_plain_pipeline_gives_calibrated_probabilities(tiny_runs, tmp_path, in_this_process) -> None:
    from transformers import pipeline

    for name in ("no-bias", "first"):
        export_run(tiny_runs[name], tmp_path / name)
        classify = pipeline("text-classification", str(tmp_path / name), device="cpu", top_k=None)
        expected = load_classifier(tiny_runs[name].path / "model").predict_proba(TEXTS[:3])
        for found, row in zip(classify(TEXTS[:3], batch_size=3), expected, strict=True):
            given = {one["label"]: one["score"] for one in found}
            np.testing.assert_allclose([given["neg"], given["pos"]], row, atol=1e-4)


def test_labels_and_problem_type_are_written(tiny_runs: TinyRuns, tmp_path: Path, in_this_process) -> None:
    export_run(tiny_runs["first"], tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "neg", "1": "pos"}
    assert config["label2id"] == {"neg": 0, "pos": 1}
    assert config["problem_type"] == "single_label_classification"


def test_peft_itself_loads_the_adapter(tiny_runs: TinyRuns, tmp_path: Path, in_this_process) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from adjudge.models.derive.folding import fold
    from adjudge.models.exchange.huggingface import causal_model

    export_run(tiny_runs["label"], tmp_path / "out", kind="adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_runs.root / "llama", dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, str(tmp_path / "out")).eval()
    classifier = load_classifier(tiny_runs["label"].path / "model")
    fold(classifier.network.engine.trunk, "lora")
    ids = torch.tensor([[1, 20, 30, 40]])
    with torch.inference_mode():
        torch.testing.assert_close(adapted(ids).logits, causal_model(classifier)(ids).logits, atol=1e-5, rtol=0)


def test_the_card_says_what_it_is(tiny_runs: TinyRuns, tmp_path: Path, in_this_process) -> None:
    run = tiny_runs["label"]
    export_run(run, tmp_path / "out", data_license="CC-BY-4.0")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert front["base_model"] == "llama"
    record, metrics = run.record(), run.metrics()
    low, high = metrics["test"]["intervals"]["accuracy"]
    for expected in (
        f"{metrics['test']['accuracy']:.4f} [{low:.4f}, {high:.4f}]",
        record["data"]["splits"]["train"]["hash"][:16],
        "reviews.csv",
        "Licence of the data: CC-BY-4.0",
        "licence of the base",
        "`neg`",
        f"{record['calibration']['temperature']:.6g}",
        "(allowed 0.0001)",
        "AutoModelForCausalLM.from_pretrained(folder",
        "    " + record["template"]["text"].splitlines()[0],
    ):
        assert expected in text


def test_what_differs_is_not_exported(tiny_runs: TinyRuns, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "run_script", lambda folder, texts: np.full((len(texts), 2), 0.5))
    with pytest.raises(WorkError, match="nothing was written"):
        export_run(tiny_runs["mean"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(tiny_runs: TinyRuns, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        export_run(tiny_runs["mean"], tmp_path)
    with pytest.raises(ConfigError, match="no neural network"):
        export_run(tiny_runs["tfidf"], tmp_path / "out")
    with pytest.raises(ConfigError, match="only LoRA"):
        export_run(tiny_runs["mean"], tmp_path / "out", kind="adapter")
    assert not (tmp_path / "out").exists()


def test_an_export_that_does_not_load_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / SCRIPT).write_text("raise SystemExit('no such thing')")
    with pytest.raises(WorkError, match="no such thing"):
        run_script(tmp_path, ["one"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["score", "mean", "first"])
def test_onnx_runtime_answers_as_the_run(name: str, tiny_runs: TinyRuns, tmp_path: Path) -> None:
    """Rows of unlike length in one batch: padding changes nothing."""
    pytest.importorskip("onnxruntime")
    facts = export_run(tiny_runs[name], tmp_path / "out", kind="onnx")
    assert facts["form"] == "onnx"
    expected = load_classifier(tiny_runs[name].path / "model").predict_proba(TEXTS)
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=1e-4)
    assert "transformers" not in (tmp_path / "out" / SCRIPT).read_text()


def test_the_script_of_a_head_that_writes_reads_labels_as_the_parser() -> None:
    source = (Path(huggingface.__file__).parent / "scripts" / "writing.py").read_text(encoding="utf-8")
    functions = [part for part in ast.parse(source).body if getattr(part, "name", "") in ("folded", "label_of")]
    assert len(functions) == 2
    parser = ReplyParser(["pos", "neg", "so-so"], ["Good", "schlecht", "\u00e9gal"])
    known = {"unicodedata": unicodedata, "prompt": {"labels": parser.known}}
    exec(compile(ast.Module(functions, []), "writing.py", "exec"), known)
    replies = [
        "good",
        " GOOD!\nText:",
        "pos.",
        "Schlecht?!",
        "e\u0301gal",
        "so-so",
        "so-so...",
        "",
        "\n",
        "good day",
        "...",
    ]
    found = [known["label_of"](reply) for reply in replies]  # type: ignore[operator]
    assert found == [parser.parse(reply) for reply in replies]
    assert found == ["pos", "pos", "pos", "neg", "so-so", "so-so", "so-so", None, None, None, None]


def test_a_label_head_is_no_onnx_graph(tiny_runs: TinyRuns, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(ConfigError, match=r"needs head\.kind 'score'"):
        export_run(tiny_runs["label"], tmp_path / "out", kind="onnx")


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "float16", "bfloat16"])
def test_a_gguf_file_answers_as_the_run(weights: str, tiny_runs: TinyRuns, tmp_path: Path) -> None:
    """Read back by Transformers, which undoes the format's order of queries and keys."""
    facts = export_run(tiny_runs["label"], tmp_path / "out", kind="gguf", weights=weights)
    assert (facts["form"], facts["weights"]) == ("gguf", weights)
    expected = load_classifier(tiny_runs["label"].path / "model").predict_proba(TEXTS)
    allowed = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 5e-2}[weights]
    np.testing.assert_allclose(run_script(tmp_path / "out", TEXTS), expected, atol=allowed)


def test_a_gguf_file_holds_the_tokenizer(tiny_runs: TinyRuns, tmp_path: Path, in_this_process) -> None:
    from transformers import AutoTokenizer

    export_run(tiny_runs["label"], tmp_path / "out", kind="gguf")
    own = AutoTokenizer.from_pretrained(tmp_path / "out")
    read = AutoTokenizer.from_pretrained(tmp_path / "out", gguf_file="model.gguf")
    for text in ["the thing and going", "ünïcödé 🙂", "a  b"]:
        assert read(text, add_special_tokens=False)["input_ids"] == own(text, add_special_tokens=False)["input_ids"]


def test_what_gguf_cannot_hold_is_refused(tiny_runs: TinyRuns, tmp_path: Path) -> None:
    for name in ("score", "mean"):
        with pytest.raises(ConfigError, match=r"needs head\.kind 'label'"):
            export_run(tiny_runs[name], tmp_path / "out", kind="gguf")
    assert not (tmp_path / "out").exists()
