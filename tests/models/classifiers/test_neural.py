"""Saving and loading a network's classifier: the head is always there, and the base model is the same one."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from adjudge.core.config import validate
from adjudge.core.errors import AdjudgeWarning, DataError, ModelNotFoundError
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Setting
from adjudge.models.classifiers import neural
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.trunk.precision import BATCH_TOLERANCES
from tests.tiny_models import tiny_model

LABELS = ("good", "bad", "so so")
TEXTS = ["good one", "bad one", "so so", "good two", "bad two", "neither"]
ROWS = Split("train", TEXTS, ["good", "bad", "so so", "good", "bad", "so so"], [str(i) for i in range(6)])
CASES = {
    "lora-score": ("lora", "llama", {"head": {"kind": "score"}}),
    "lora-label": ("lora", "llama", {"head": {"kind": "label"}}),
    "lora-label-rows": ("lora", "llama", {"head": {"kind": "label", "train_label_rows": True}}),
    "lora-words": ("lora", "llama", {"head": {"kind": "score", "init": "label_words"}}),
    "full": ("full", "bert", {}),
}


def fit(case: str, root: Path) -> NeuralClassifier:
    name, architecture, options = CASES[case]
    folder = root / architecture
    model = folder if folder.is_dir() else tiny_model(architecture, folder)
    training = {"epochs": 2.0, "batch_size": 4, "learning_rate": 0.01}
    method = METHODS.load(name)
    given = {"model": str(model), "precision": "float32", "training": training, **options}
    config = validate(method.config, given, case)
    found = method.fit(ROWS, ROWS, config, Setting(Task(name="t"), LABELS)).classifier
    assert isinstance(found, NeuralClassifier)
    return found


@pytest.mark.parametrize("case", list(CASES))
def test_loaded_head_and_adapter_are_the_trained_ones(case: str, tmp_path: Path) -> None:
    """Elsewhere a trained head is random again after loading."""
    classifier = fit(case, tmp_path)
    classifier.save(tmp_path / "saved")
    again = NeuralClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_logits(TEXTS), classifier.predict_logits(TEXTS))
    for name, tensor in classifier.network.head.state_dict().items():
        assert np.array_equal(again.network.head.state_dict()[name], tensor)
    again.save(tmp_path / "again")
    assert (tmp_path / "again/classifier.json").read_bytes() == (tmp_path / "saved/classifier.json").read_bytes()


@pytest.mark.parametrize(("case", "missing"), [("lora-score", "linear.bias"), ("lora-label", "rows")])
def test_a_head_that_is_not_there_is_refused(case: str, missing: str, tmp_path: Path) -> None:
    fit(case, tmp_path).save(tmp_path / "saved")
    file = tmp_path / "saved" / "head.safetensors"
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if name != missing}, file)
    with pytest.raises(DataError, match=f"the head lacks {missing}"):
        NeuralClassifier.load(tmp_path / "saved")
    file.unlink()
    with pytest.raises(DataError, match="the head lacks"):
        NeuralClassifier.load(tmp_path / "saved")


@pytest.mark.parametrize(("case", "name"), [("lora-score", "linear.weight"), ("lora-label", "rows")])
def test_a_head_of_other_labels_is_refused(case: str, name: str, tmp_path: Path) -> None:
    fit(case, tmp_path).save(tmp_path / "saved")
    file = tmp_path / "saved" / "head.safetensors"
    tensors = load_file(file)
    save_file({**tensors, name: tensors[name][:-1].contiguous()}, file)
    with pytest.raises(DataError, match="shape"):
        NeuralClassifier.load(tmp_path / "saved")


def test_a_changed_or_lost_base_model_is_refused(tmp_path: Path) -> None:
    fit("lora-score", tmp_path).save(tmp_path / "saved")
    base = tmp_path / "llama"
    shutil.rmtree(base)
    with pytest.raises(ModelNotFoundError, match="there is no such folder"):
        NeuralClassifier.load(tmp_path / "saved")
    tiny_model("llama", base, seed=1)
    with pytest.raises(ModelNotFoundError, match="is not the one that this classifier was trained on"):
        NeuralClassifier.load(tmp_path / "saved")
    shutil.rmtree(base)
    tiny_model("llama", base)
    NeuralClassifier.load(tmp_path / "saved")


def test_a_fully_trained_model_needs_its_base_no_more(tmp_path: Path) -> None:
    classifier = fit("full", tmp_path)
    classifier.save(tmp_path / "saved")
    shutil.rmtree(tmp_path / "bert")
    again = NeuralClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_logits(TEXTS), classifier.predict_logits(TEXTS))
    assert "packed" not in (tmp_path / "saved/trunk/config.json").read_text()


def test_a_device_whose_batches_change_more_than_they_did_where_the_model_was_made_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit("full", tmp_path).save(tmp_path / "saved")
    file = tmp_path / "saved/classifier.json"
    manifest = json.loads(file.read_text())
    assert manifest["batch_tolerance"] == BATCH_TOLERANCES["float32"].stated
    steady = BATCH_TOLERANCES["bfloat16"].stated
    file.write_text(json.dumps(manifest | {"precision": "bfloat16", "batch_tolerance": steady}))
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdjudgeWarning)
        monkeypatch.setattr(neural, "make_steady", lambda *_: True)
        NeuralClassifier.load(tmp_path / "saved")
    monkeypatch.setattr(neural, "make_steady", lambda *_: False)
    with pytest.warns(AdjudgeWarning, match=r"bfloat16 .* may differ by up to 0\.1 .* differed by 0\.001 at most"):
        NeuralClassifier.load(tmp_path / "saved")


def test_the_manifest_says_what_it_is(tmp_path: Path) -> None:
    classifier = fit("lora-label", tmp_path)
    classifier.temperature = 1.5
    classifier.offset = np.array([0.5, 0, -1], dtype=np.float32)
    classifier.save(tmp_path / "saved")
    manifest = json.loads((tmp_path / "saved/classifier.json").read_text())
    assert manifest["problem_type"] == "single_label"
    assert manifest["labels"] == list(LABELS)
    described = {"kind": "label", "space": "closed", "scale": 1.0, "cap": None, "lengths": None}
    assert manifest["head"] == described
    assert manifest["base"]["hash"] == classifier.base_hash
    again = NeuralClassifier.load(tmp_path / "saved")
    assert again.temperature == 1.5
    np.testing.assert_array_equal(again.predict_logits(TEXTS), classifier.predict_logits(TEXTS))
    again.offset = np.zeros(3, dtype=np.float32)
    np.testing.assert_allclose(
        classifier.predict_logits(TEXTS) - again.predict_logits(TEXTS), np.tile([0.5, 0, -1], (6, 1)), atol=1e-5
    )
