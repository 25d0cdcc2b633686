"""Score heads inside an architecture's own classifier: which fit, with the same logits, and what is advised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adjudge.core.task import Task
from adjudge.models.classifiers.neural import NeuralClassifier, build_network
from adjudge.models.engine.heads import Pooling, ScoreHead
from adjudge.models.exchange.huggingface import export_huggingface
from adjudge.models.exchange.own_head import fitting_head, sequence_model
from adjudge.models.exchange.prompted import prompted_tokenizer
from adjudge.models.trunk.loading import load_pretrained
from adjudge.prompts import build_prompt
from tests.tiny_architectures import tiny_architecture

LABELS = ("no", "maybe", "yes")
TEXTS = ["good day", "", "bad film </s> [SEP] <s>", "the room was quite warm again " * 8]
# What is between the two layers of their own heads: tanh, GELU or ReLU.
FITTING = ("bert", "roberta", "deberta", "electra", "distilbert")


def classifier_of(
    architecture: str, folder: Path, pooling: Pooling, *, bias: bool = True, temperature: float = 1.7
) -> NeuralClassifier:
    """A classifier with a random head on a tiny model."""
    pretrained = load_pretrained(str(tiny_architecture(architecture, folder / architecture)))
    task = Task(name="mood")
    prompt = build_prompt(task, LABELS, pretrained.tokenizer, style="bare", max_tokens=64)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = ScoreHead(pretrained.hidden_size, len(LABELS), pooling=pooling, bias=bias)
        torch.nn.init.normal_(head.linear.weight, std=0.3)
        if bias:
            torch.nn.init.normal_(head.linear.bias)
    classifier = NeuralClassifier(
        label_set=LABELS,
        network=build_network(pretrained, head, prompt, "float32"),
        prompt=prompt,
        tokenizer=pretrained.tokenizer,
        base=pretrained.located,
        base_hash=None,
        adaptation="full",
        temperature=temperature,
    )
    classifier.network.train(False)
    return classifier


@pytest.mark.parametrize("architecture", FITTING)
def test_a_pipeline_gives_the_classifiers_own_logits(architecture: str, tmp_path: Path) -> None:
    """Divided by the temperature, which is inside the exported head; one row in a batch and by itself."""
    from transformers import pipeline

    classifier = classifier_of(architecture, tmp_path, "first")
    expected = classifier.predict_logits(TEXTS) / classifier.temperature
    exported = export_huggingface(classifier, tmp_path / "out")
    assert exported.form == "sequence"
    assert "AutoModelForSequenceClassification, load it by themselves" in exported.loads
    options = {"truncation": True, "top_k": None, "function_to_apply": "none"}
    classify = pipeline("text-classification", str(tmp_path / "out"), device="cpu", **options)
    for batch_size in (1, 4):
        for found, row in zip(classify(TEXTS, batch_size=batch_size), expected, strict=True):
            given = {one["label"]: one["score"] for one in found}
            np.testing.assert_allclose([given[label] for label in LABELS], row, atol=2e-4)


@pytest.mark.parametrize(
    ("architecture", "pooling", "bias", "advice"),
    [
        ("bert", "mean", True, "head: {pooling: first}"),
        ("deberta", "mean", False, "head: {pooling: first}"),
        ("llama", "last", True, "head: {pooling: last, bias: false}"),
        ("modernbert", "mean", True, None),
    ],
)
def test_a_head_that_does_not_fit_is_told_which_would(
    architecture: str, pooling: Pooling, bias: bool, advice: str | None, tmp_path: Path
) -> None:
    classifier = classifier_of(architecture, tmp_path, pooling, bias=bias)
    own = classifier.network.head
    tokenizer = prompted_tokenizer(classifier.tokenizer, classifier.prompt)
    assert sequence_model(classifier, tokenizer) is None
    assert fitting_head(classifier, tokenizer) == advice
    assert classifier.network.head is own
    exported = export_huggingface(classifier, tmp_path / "out")
    assert exported.form == "states"
    assert f"computes another function than pooling: {pooling}" in exported.loads
    assert (f"train with {advice}" if advice else "--format onnx") in exported.loads


@pytest.mark.parametrize(("architecture", "pooling", "bias"), [("bert", "first", True), ("llama", "last", False)])
def test_what_is_advised_is_what_is_then_written(
    architecture: str, pooling: Pooling, bias: bool, tmp_path: Path
) -> None:
    classifier = classifier_of(architecture, tmp_path, pooling, bias=bias)
    assert export_huggingface(classifier, tmp_path / "out").form == "sequence"


def test_constants_that_16_bits_do_not_hold_are_not_written(tmp_path: Path) -> None:
    """GELU lets states through far from zero alone, and 64 plus a state has three digits less in 16 bits."""
    classifier = classifier_of("electra", tmp_path, "first")
    tokenizer = prompted_tokenizer(classifier.tokenizer, classifier.prompt)
    assert sequence_model(classifier, tokenizer, "float32") is not None
    assert sequence_model(classifier, tokenizer, "bfloat16") is None
    tanh = classifier_of("bert", tmp_path, "first")
    assert sequence_model(tanh, prompted_tokenizer(tanh.tokenizer, tanh.prompt), "bfloat16") is not None
