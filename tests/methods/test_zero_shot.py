"""`zero_shot`: no label shapes it, and its offsets are what they are defined to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjudge.core.errors import ConfigError, DataError
from adjudge.core.hashing import hash_file
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Fitted, Setting
from tests.tiny_models import tiny_model

LABELS = ("good", "bad", "so so")
TEXTS = ["a fine thing", "not that fine", "", "the other one", "meh", "ดีมาก"]
GOLD = ["good", "bad", "bad", "so so", "so so", "good"]
VALIDATION = Split("validation", TEXTS, GOLD, [str(i) for i in range(6)])
TRAIN = Split("train", ["x", "y"], ["good", "bad"], ["0", "1"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("zero_shot") / "llama", chat=True)


def fit(model: Path, validation: Split = VALIDATION, train: Split = TRAIN, **options: Any) -> Fitted:
    method = METHODS.load("zero_shot")
    config = method.config(**{"model": str(model), "precision": "float32", "max_tokens": 400, **options})
    return method.fit(train, validation, config, Setting(Task(name="t"), LABELS))


def folder_bytes(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): hash_file(f) for f in sorted(folder.rglob("*")) if f.is_file()}


def test_no_label_is_used_and_none_changes_the_classifier(model: Path, tmp_path: Path) -> None:
    first = fit(model)
    other_labels = replace(VALIDATION, labels=["so so", "good", "good", "bad", "bad", "bad"])
    second = fit(model, other_labels, replace(TRAIN, labels=["so so", "so so"]))
    assert first.labels_used == {"train": 0, "validation": 0}
    first.classifier.save(tmp_path / "first")
    second.classifier.save(tmp_path / "second")
    assert folder_bytes(tmp_path / "first") == folder_bytes(tmp_path / "second")


def test_offsets_are_as_defined(model: Path) -> None:
    raw = fit(model, scoring="raw")
    logits = raw.classifier.predict_logits(TEXTS)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-5)  # log-probabilities of the closed set
    empty = raw.classifier.predict_logits([""])[0]
    batch = fit(model, scoring="batch").classifier.predict_logits(TEXTS)
    np.testing.assert_allclose(batch, logits - logits.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(batch.mean(axis=0), 0, atol=1e-5)
    pmi = fit(model, scoring="pmi").classifier.predict_logits(TEXTS)
    np.testing.assert_allclose(pmi, logits - empty, atol=1e-5)
    assert raw.facts["offsets"]["raw"] == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(raw.facts["offsets"]["pmi"], -empty, atol=1e-6)


def test_a_text_does_not_depend_on_its_neighbours(model: Path) -> None:
    classifier = fit(model).classifier
    alone = np.concatenate([classifier.predict_logits([text]) for text in TEXTS])
    np.testing.assert_allclose(classifier.predict_logits(TEXTS), alone, atol=1e-5)


def test_all_scorings_are_reported_side_by_side(model: Path) -> None:
    scorings = fit(model, scoring="raw").facts["scorings"]
    assert set(scorings) == {"raw", "pmi", "batch"}
    for scoring, reported in scorings.items():
        predicted = fit(model, scoring=scoring).classifier.predict(TEXTS)
        right = np.mean([a == b for a, b in zip(predicted, GOLD, strict=True)])
        assert reported["validation_accuracy"] == pytest.approx(right)
        assert reported["rows"] == 6


def test_the_sample_of_texts_is_bounded(model: Path) -> None:
    facts = fit(model, calibration_rows=2).facts
    assert facts["scorings"]["batch"]["rows"] == 2
    assert facts["offsets"]["batch"] != fit(model).facts["offsets"]["batch"]


def test_nothing_is_trainable(model: Path) -> None:
    fitted = fit(model)
    assert fitted.facts["trainable_parameters"] == 0
    assert not fitted.classifier.network.trainable()


def test_it_needs_a_causal_model_and_an_answer_slot(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs causal"):
        fit(tiny_model("bert", tmp_path / "bert"))
    with pytest.raises(ConfigError, match="answer slot"):
        fit(model, prompt_style="bare")


def test_a_validation_without_rows_is_refused(model: Path) -> None:
    with pytest.raises(DataError, match="validation has no rows; the offsets"):
        fit(model, VALIDATION.take([]))
