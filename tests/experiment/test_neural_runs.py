"""Networks through the runner: tiny random models, every neural method, the round trip in a fresh process."""

import re

import pytest

from adjudge.core.errors import ModelNotFoundError
from adjudge.core.runs import Run
from adjudge.experiment.predict import predict_texts
from adjudge.experiment.runner import run_recipe
from adjudge.face.text_classifier import TextClassifier
from adjudge.methods import METHODS
from adjudge.models.classifiers.round_trip import PROBE_ROWS
from adjudge.models.engine.network import Network
from adjudge.recipe import starter
from adjudge.recipe.recipe import load_recipe
from tests.tiny_models import tiny_bert, tiny_llama


@pytest.mark.slow
def test_networks_run_and_answer_the_same_in_a_fresh_process(recipe_file, tmp_path):
    """A trained head that is random after reloading, and serving that answers differently from training."""
    llama, bert = str(tiny_llama(tmp_path / "llama", chat=True)), str(tiny_bert(tmp_path / "bert"))
    methods = [
        {"kind": "zero_shot", "model": llama},
        {"kind": "full", "model": bert},
        {"kind": "lora", "model": llama, "head": {"kind": "label"}, "name": "lora-label"},
    ]
    loaded = load_recipe(recipe_file(methods=methods), overrides=["method.epochs=1"])
    outcomes = run_recipe(loaded, runs=tmp_path / "runs")
    assert [outcome.error for outcome in outcomes] == [None] * 3
    for outcome in outcomes:
        run = Run(outcome.folder)
        record = run.record()
        trip, batches = record["facts"]["round_trip"], record["facts"]["batch_invariance"]
        assert trip["largest_difference"] <= trip["tolerance"]
        assert batches["largest_difference"] <= batches["tolerance"]
        assert set(batches["near_ties"]) == {"validation", "test"}
        assert record["model"]["id"] in ("llama", "bert")
        assert record["cost"]["total_parameters"] > 1000
        assert run.predictions("test")["n_tokens"].min() > 0
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', (run.path / "run.json").read_text())
        assert not [text for text in strings if text.startswith("/") or str(tmp_path) in text]
    stored = Run(outcomes[2].folder)
    row = stored.predictions("test").row(0, named=True)
    text = stored.texts().filter(row_id=row["row_id"])["text"].item()
    (answer,) = predict_texts(stored, [text])
    assert answer["probabilities"]["pos"] == pytest.approx(row["prob_pos"], abs=1e-5)


@pytest.mark.usefixtures("fast_verify")
def test_no_text_of_validation_is_predicted_twice_with_the_same_weights(recipe_file, tmp_path, monkeypatch):
    """Neither after training, whose last evaluation did it, nor for a zero-shot model that was calibrated on it."""
    llama = str(tiny_llama(tmp_path / "llama"))
    training = {"epochs": 1.0, "evaluations_per_epoch": 1}
    methods = [{"kind": "zero_shot", "model": llama}, {"kind": "lora", "model": llama, "training": training}]
    predicted, predict = [], Network.predict_logits

    def counting(self, encoded, *rest):
        predicted.append(len(encoded))
        return predict(self, encoded, *rest)

    monkeypatch.setattr(Network, "predict_logits", counting)
    outcomes = run_recipe(load_recipe(recipe_file(methods=methods)), runs=tmp_path / "runs")
    rows = Run(outcomes[0].folder).record()["data"]["splits"]
    validation, test = rows["validation"]["rows"], rows["test"]["rows"]
    assert [rows for rows in predicted if rows > 1] == [validation, test, validation, test]
    # One empty text for the offset of the scoring; then those that are compared with what they are among others.
    assert predicted.count(1) == 1 + 2 * min(PROBE_ROWS, validation)


def test_a_model_that_cannot_be_had_stops_the_recipe_before_anything_is_written(recipe_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    file = recipe_file(methods=[{"kind": "majority"}, {"kind": "full", "model": str(tmp_path / "empty")}])
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        run_recipe(load_recipe(file), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_nested_options_are_parameters_of_the_scikit_learn_face():
    classifier = TextClassifier("full", options={"max_tokens": 32})
    params = classifier.get_params()
    assert params["options__training__epochs"] == METHODS.load("full").config().training.epochs
    classifier.set_params(options__training__epochs=0.5, options__training__batch_size=4)
    assert classifier.options == {"max_tokens": 32, "training": {"epochs": 0.5, "batch_size": 4}}
    assert classifier.get_params()["options__training__epochs"] == 0.5
    assert classifier.get_params()["options__training"]["batch_size"] == 4


def test_the_starters_epochs_are_the_methods_defaults():
    epochs = {work.method: work.epochs for work in starter._WORK}
    assert list(epochs) == ["majority", "tfidf", "embedding", "zero_shot", "full", "lora"]
    for method in ("full", "lora"):
        assert epochs[method] == METHODS.load(method).config().training.epochs
