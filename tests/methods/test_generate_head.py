"""`head: generate`: what the model writes decides, the scores stand beside it, and no label is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjudge.core.errors import ConfigError, DataError, UsageError, WorkError
from adjudge.core.protocols import replies_of
from adjudge.core.task import LabelInfo, Task
from adjudge.core.types import Reply, Split
from adjudge.face.text_classifier import TextClassifier
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.classifiers.round_trip import verify_saved
from adjudge.models.classifiers.storage import load_classifier
from tests.chain_models import chain_model
from tests.tiny_models import tiny_model

LABELS = ("good", "bad")
TEXTS = ["a fine thing", "not that fine", "", "the other one", "ดีมาก"]
VALIDATION = Split("validation", TEXTS, ["good", "bad", "bad", "good", "good"], [str(i) for i in range(5)])
TRAIN = Split("train", ["x", "y"], ["good", "bad"], ["0", "1"])
# The tiny chat template's prompt ends with a line break, the plain one with a colon.
ENDS = {"chat": "\n", "plain": ":"}


def fit(model: Path, method: str = "zero_shot", task: Task | None = None, **options: Any) -> Fitted:
    found = METHODS.load(method)
    tiny = {"model": str(model), "precision": "float32", "max_tokens": 400, "head": "generate"}
    config = found.config(**{**tiny, **options})
    return found.fit(TRAIN, VALIDATION, config, Setting(task or Task(name="t"), LABELS))


def written(reply: str, folder: Path, **options: Any) -> list[Reply]:
    """What a model that writes `reply` is read as."""
    classifier = fit(chain_model(folder / "model", ENDS["plain"], reply), prompt_style="plain", **options).classifier
    replies = replies_of(classifier, TEXTS)
    assert replies is not None
    return replies


@pytest.mark.parametrize(
    ("reply", "label"), [("good", "good"), ("Bad.", "bad"), (" bad\nText", "bad"), ("fine", None), ("bad omen", None)]
)
def test_the_reply_decides_or_nothing_does(reply: str, label: str | None, tmp_path: Path) -> None:
    replies = written(reply, tmp_path)
    assert [one.label for one in replies] == [label] * len(TEXTS)
    assert all(one.text and reply.startswith(one.text) for one in replies)


def test_a_reply_that_was_cut_off_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands there happens to be a label, but the model was not done."""
    task = Task(name="t", labels={"good": LabelInfo(verbalizer="uvw"), "bad": LabelInfo(verbalizer="xy")})
    assert written(" uvw", tmp_path / "whole", task=task)[0] == Reply(" uvw", "good")
    monkeypatch.setattr("adjudge.models.assembly.EXTRA_TOKENS", 0)
    assert written(" uvw", tmp_path / "cut", task=task)[0] == Reply(" uvw", None)


def test_scores_are_those_of_the_label_head(tmp_path: Path) -> None:
    model = tiny_model("llama", tmp_path / "model", chat=True)
    scored, generated = fit(model, head="label"), fit(model)
    assert replies_of(scored.classifier, TEXTS) is None
    expected = scored.classifier.predict_logits(TEXTS)
    np.testing.assert_allclose(generated.classifier.predict_logits(TEXTS), expected, atol=1e-6)
    assert generated.labels_used == {"train": 0, "validation": 0}
    longest = max(map(len, generated.classifier.prompt.answer_ids))  # type: ignore[attr-defined]
    assert generated.facts["generation"] == {"max_new_tokens": longest + 4}
    assert "generation" not in scored.facts


@pytest.mark.parametrize("method", ["zero_shot", "few_shot"])
def test_it_survives_saving_and_loading(method: str, tmp_path: Path) -> None:
    model = chain_model(tmp_path / "model", ENDS["chat"], "good", chat=True)
    classifier = fit(model, method).classifier
    classifier.save(tmp_path / "saved")
    described = json.loads((tmp_path / "saved" / "classifier.json").read_text())["head"]
    assert (described["kind"], described["max_new_tokens"]) == ("generate", classifier.writer.max_new_tokens)  # type: ignore[attr-defined]
    again = load_classifier(tmp_path / "saved")
    assert replies_of(again, TEXTS) == replies_of(classifier, TEXTS) == [Reply("good", "good")] * len(TEXTS)
    np.testing.assert_array_equal(again.predict_logits(TEXTS), classifier.predict_logits(TEXTS))
    again.save(tmp_path / "again")
    assert (tmp_path / "again/classifier.json").read_bytes() == (tmp_path / "saved/classifier.json").read_bytes()


@pytest.mark.slow
def test_replies_are_compared_with_those_of_a_fresh_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = fit(chain_model(tmp_path / "model", ENDS["chat"], "good", chat=True)).classifier
    classifier.save(tmp_path / "saved")
    other = [Reply("bad", "bad"), *[Reply("good", "good")] * 4]  # the first of them is not what the process writes
    monkeypatch.setattr(NeuralClassifier, "replies", lambda *_: other)
    with pytest.raises(WorkError, match="1 of 5 replies of the reloaded model differ"):
        verify_saved(classifier, tmp_path / "saved", TEXTS)


def test_labels_do_not_depend_on_neighbours(tmp_path: Path) -> None:
    classifier = fit(tiny_model("llama", tmp_path / "model", chat=True, seed=5)).classifier
    together = replies_of(classifier, TEXTS)
    assert together == [replies_of(classifier, [text])[0] for text in TEXTS]  # type: ignore[index]


def test_predict_refuses_since_it_promises_a_label_for_every_text(tmp_path: Path) -> None:
    model = chain_model(tmp_path / "model", ENDS["chat"], "good", chat=True)
    classifier = fit(model).classifier
    with pytest.raises(UsageError, match="may stand for no label"):
        classifier.predict(TEXTS)
    options = {"head": "generate"}
    with pytest.raises(ConfigError, match="`predict` promises one for each"):
        TextClassifier("zero_shot", str(model), options=options).fit(TEXTS * 4, ["a", "b", "a", "b", "a"] * 4)
    with pytest.raises(ConfigError, match="`predict` promises one for each"):
        TextClassifier("lora", str(model), options=options).fit(TEXTS * 4, ["a", "b", "a", "b", "a"] * 4)


def test_verbalizers_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    task = Task(name="t", labels={"good": LabelInfo(verbalizer="yes"), "bad": LabelInfo(verbalizer="Yes")})
    model = tiny_model("llama", tmp_path / "model")
    with pytest.raises(ConfigError, match="give it another `verbalizer`"):
        fit(model, task=task)
    fit(model, task=task, head="label")


def test_a_base_without_a_language_model_head_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama", tmp_path / "model")
    fit(model).classifier.save(tmp_path / "saved")
    monkeypatch.setattr("adjudge.models.trunk.loading.find_readout", lambda _: None)
    with pytest.raises(DataError, match="writes its answers"):
        NeuralClassifier.load(tmp_path / "saved")
