"""Head `generate` of trained methods: they learn from the answer under the whole vocabulary, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.protocols import replies_of
from adjudge.core.task import LabelInfo, Task
from adjudge.core.types import Encoded
from adjudge.foresee.dry_model import dry_model
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.heads import WritingHead
from adjudge.models.engine.network import Network
from adjudge.models.trunk.readout import Readout, Scaling
from adjudge.prompts.trie import build_trie
from adjudge.train.distillation import SoftTargets
from tests.methods.test_lora import LABELS, TRAIN, VALIDATION
from tests.models.engine.one_by_one import BATCHES, PREFIX, assert_close, load_trunk, model_folder
from tests.tiny_models import tiny_model

# Of different lengths, one the beginning of another, all with the end token (2) behind them.
WORDS = ((70, 71), (70, 72, 73), (80,), (80, 81))
ANSWERS = tuple((*ids, 2) for ids in WORDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generate")


def tie(model: Path) -> Path:
    """The same architecture with one matrix for both ends."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    weights = load_file(model / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return model


def plain_losses(model: nn.Module, rows: list[Encoded], targets: list[int], smoothing: float) -> torch.Tensor:
    """Each row alone through Transformers' own causal model, labels masked up to the answer."""
    losses = []
    for row, target in zip(rows, targets, strict=True):
        prompt = [*PREFIX, *row.text_ids, *row.suffix_ids]
        ids = torch.tensor([[*prompt, *ANSWERS[target]]])
        labels = torch.tensor([-100] * len(prompt) + list(ANSWERS[target]))
        scores = model(input_ids=ids).logits[0]
        losses.append(cross_entropy(scores[:-1], labels[1:], reduction="sum", label_smoothing=smoothing))
    return torch.stack(losses)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("batch", ["mixed lengths", "an empty text", "one row"])
def test_losses_and_gradients_are_those_of_plain_supervised_fine_tuning(
    batch: str, smoothing: float, tied: bool, folder: Path
) -> None:
    path = folder / f"tied-{tied}"
    if not path.is_dir():
        model_folder("llama", path)
        if tied:
            tie(path)
    trunk = load_trunk(path, torch.float64)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).double().eval()
    reference = load_trunk(path, torch.float64)
    reference.train(False)
    model.model = reference
    if tied:
        model.lm_head.weight = reference.get_input_embeddings().weight  # type: ignore[operator]
    own: Any = trunk.get_input_embeddings().weight if tied else nn.Parameter(model.lm_head.weight.detach().clone())  # type: ignore[operator]
    head = WritingHead(Readout(own), build_trie(WORDS, 2), ANSWERS, learns=own, shared=tied)
    network = Network(Engine(trunk, causal=True), head, PREFIX)
    assert network.engine.path == "packed"
    assert ("head.output" in network.trainable()) == (not tied)
    rows = BATCHES[batch]
    targets = [i % len(WORDS) for i in range(len(rows))]
    expected = plain_losses(model, rows, targets, smoothing)
    found, tokens = network.answer_losses(rows, torch.tensor(targets), smoothing)
    assert_close(found, expected, 1e-9, "losses")
    assert tokens == len(PREFIX) + sum(
        len(row.text_ids) + len(row.suffix_ids) + len(ANSWERS[target]) - 1
        for row, target in zip(rows, targets, strict=True)
    )
    expected.mean().backward()
    found.mean().backward()
    for name, parameter in trunk.named_parameters():
        assert_close(parameter.grad, reference.get_parameter(name).grad, 1e-9, name)  # type: ignore[arg-type]
    if not tied:
        assert_close(own.grad, model.lm_head.weight.grad, 1e-9, "lm_head")


def test_bias_scale_and_cap_of_the_head_are_used(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(90, 32, generator=generator), torch.randn(90, generator=generator)
    readout = Readout(weight, bias, Scaling(0.5, 3.0))
    head = WritingHead(readout, build_trie(WORDS, 2), ANSWERS)
    network = Network(
        Engine(load_trunk(model_folder("llama", folder / "cap"), torch.float32), causal=True), head, PREFIX
    )
    row = BATCHES["one row"]
    states = network.engine.states(row, PREFIX)
    scores = 3.0 * torch.tanh(0.5 * (states.hidden[states.answer] @ weight.T + bias) / 3.0)
    expected = -scores.log_softmax(dim=-1)[0, 80]
    network.head = WritingHead(readout, build_trie(WORDS, 2), ((80,),))
    torch.testing.assert_close(network.answer_losses(row, torch.tensor([0]))[0][0], expected)
    network.head = head
    torch.testing.assert_close(network.logits(row), head.closed()(network.states(row)))
    with pytest.raises(TypeError, match="LabelHead learns from scores"):
        Network(network.engine, head.closed(), PREFIX).answer_losses(row, torch.tensor([0]))


def fit(method: str, model: Path, **options: Any) -> Fitted:
    training = {"epochs": 20.0, "batch_size": 8, "learning_rate": 0.005, **options.pop("training", {})}
    chosen = METHODS.load(method)
    given = {"model": str(model), "precision": "float32", "training": training, "head": {"kind": "generate"}}
    setting = Setting(Task(name="t"), LABELS, soft=options.pop("soft", None))
    return chosen.fit(TRAIN, VALIDATION, validate(chosen.config, {**given, **options}, method), setting)


@pytest.mark.parametrize(
    ("method", "tied"),
    [
        pytest.param("lora", False, marks=pytest.mark.slow),
        ("full", False),
        pytest.param("full", True, marks=pytest.mark.slow),
        pytest.param("qlora", True, marks=pytest.mark.slow),
    ],
)
def test_it_learns_to_write_labels_and_to_stop_and_the_saved_model_writes_them_too(
    method: str, tied: bool, tmp_path: Path
) -> None:
    model = tiny_model("llama", tmp_path / "model", hidden=64)
    fitted = fit(method, tie(model) if tied else model)
    classifier = fitted.classifier
    replies = replies_of(classifier, VALIDATION.texts)
    assert replies is not None
    assert [reply.label for reply in replies] == list(VALIDATION.labels)
    assert [reply.text.strip() for reply in replies] == list(VALIDATION.labels)  # it stops where it should
    assert fitted.facts["best_validation_macro_f1"] == 1.0
    assert fitted.facts["generation"]["max_new_tokens"] > 4
    classifier.save(tmp_path / "saved")
    head = load_file(tmp_path / "saved" / "head.safetensors")
    assert ("output.weight" in head) == (method == "full" and not tied)
    again = load_classifier(tmp_path / "saved")
    assert replies_of(again, VALIDATION.texts) == replies
    expected = classifier.predict_logits(VALIDATION.texts)
    np.testing.assert_allclose(again.predict_logits(VALIDATION.texts), expected, atol=1e-5)
    np.testing.assert_array_equal(fitted.validation_logits, expected)
    again.save(tmp_path / "again")
    for name in ("classifier.json", "head.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_adapters_leave_the_language_model_head_as_it_is(tmp_path: Path) -> None:
    model = tiny_model("llama", tmp_path / "model")
    before = AutoModelForCausalLM.from_pretrained(model).lm_head.weight
    classifier: Any = fit("lora", model, training={"epochs": 1.0}).classifier
    assert torch.equal(classifier.writer.readout.weight, before)
    assert all(name.startswith("trunk.") for name in classifier.network.trainable())


@pytest.mark.slow
def test_training_goes_on_from_it(tmp_path: Path) -> None:
    model = tiny_model("llama", tmp_path / "model", hidden=64)
    first = fit("full", model)
    first.classifier.save(tmp_path / "run" / "model")
    chosen = METHODS.load("full")
    still = {"epochs": 1.0, "batch_size": 8, "learning_rate": 1e-12, "weight_decay": 0.0}
    options = {"model": str(model), "precision": "float32", "training": still}
    setting = Setting(Task(name="t"), LABELS, start=tmp_path / "run" / "model")
    config = validate(chosen.config, {**options, "head": {"kind": "generate"}}, "full")
    second = chosen.fit(TRAIN, VALIDATION, config, setting).classifier
    expected = replies_of(first.classifier, VALIDATION.texts)
    assert replies_of(second, VALIDATION.texts) == expected
    with pytest.raises(ConfigError, match="the head is 'label' in the recipe, 'generate' in the run"):
        chosen.fit(TRAIN, VALIDATION, validate(chosen.config, {**options, "head": {"kind": "label"}}, "full"), setting)


def test_what_cannot_go_with_it_is_refused(folder: Path) -> None:
    model, bert = tiny_model("llama", folder / "refused"), tiny_model("bert", folder / "bert")
    with pytest.raises(ConfigError, match="nothing would learn"):
        fit("linear_probe", model)
    with pytest.raises(ConfigError, match="need a causal model"):
        fit("lora", bert)
    with pytest.raises(ConfigError, match=r"takes no training\.loss\.kind: focal, no training\.loss\.r_drop"):
        fit("lora", model, training={"loss": {"kind": "focal", "r_drop": 1.0}})
    soft = SoftTargets(np.zeros((24, 2), np.float32), 1.0, np.ones(24, np.float32))
    with pytest.raises(ConfigError, match="takes no learning from a teacher's scores"):
        fit("lora", model, soft=soft)
    alike = Task(name="t", labels={"plus": LabelInfo(verbalizer="Yes"), "minus": LabelInfo(verbalizer="yes")})
    chosen = METHODS.load("lora")
    config = validate(chosen.config, {"model": str(model), "head": {"kind": "generate"}}, "lora")
    with pytest.raises(ConfigError, match="without regard to case"):
        chosen.fit(TRAIN, VALIDATION, config, Setting(alike, LABELS))


@pytest.mark.parametrize(("method", "tied"), [("lora", False), ("full", False), ("full", True)])
def test_what_learns_is_foreseen(method: str, tied: bool, tmp_path: Path) -> None:
    model = tiny_model("llama", tmp_path / "model")
    found = fit(method, tie(model) if tied else model, training={"epochs": 0.1})
    options = {"model": str(model), "head": {"kind": "generate"}}
    foreseen = dry_model(validate(METHODS.load(method).config, options, method), len(LABELS), "float32")
    assert foreseen.trainable_parameters == found.facts["trainable_parameters"]
