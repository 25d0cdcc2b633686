"""What a training may start from: a saved classifier that computes the same function with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.methods import METHODS, Setting
from adjudge.models.classifiers.storage import load_classifier
from tests.methods.test_lora import LABELS, TRAIN, VALIDATION
from tests.tiny_models import tiny_model

LORA = {"rank": 2, "alpha": 4.0}


def fit(
    method: str, model: Path, start: Path | None = None, training: dict[str, Any] | None = None, **options: Any
) -> Any:
    chosen = METHODS.load(method)
    steps = {"epochs": 1.0, "batch_size": 8, **(training or {})}
    given = {"model": str(model), "precision": "float32", "training": steps, **options}
    setting = Setting(Task(name="t"), LABELS, start=start)
    return chosen.fit(TRAIN, VALIDATION, validate(chosen.config, given, method), setting).classifier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("continuing") / "llama")


@pytest.fixture(scope="module")
def lora(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("continuing") / "run" / "model"
    folder.parent.mkdir()
    fit("lora", model, **LORA).save(folder)
    return folder


@pytest.mark.parametrize(
    ("method", "options", "problem"),
    [
        ("lora", {"alpha": 64.0}, "run: cannot go on from it: the adapter's lora_alpha is 64.0 in the recipe, 4.0 in"),
        ("lora", {"rank_stabilised": True}, "the adapter's use_rslora is True in the recipe, None in the run"),
        ("lora", {"head": {"pooling": "mean"}}, "the head is 'score, mean' in the recipe, 'score, last' in the run"),
        ("lora", {"attention": "bidirectional"}, "the attention is 'bidirectional' in the recipe, 'auto' in the run"),
        ("qlora", {}, "the base model's weights are rounded to 'nf4' in the recipe, 'none' in the run"),
    ],
)
def test_a_recipe_whose_function_is_another_is_refused(
    method: str, options: dict[str, Any], problem: str, model: Path, lora: Path
) -> None:
    with pytest.raises(ConfigError, match=problem):
        fit(method, model, lora, **{**LORA, **options})


def test_what_shapes_training_alone_may_differ_and_the_runs_weights_are_taken(model: Path, lora: Path) -> None:
    still = {"learning_rate": 1e-30}
    taken = fit("lora", model, lora, still, **LORA, dropout=0.1, head={"dropout": 0.5})
    anew = fit("lora", model, None, still, **LORA)
    saved = load_classifier(lora).predict_logits(TRAIN.texts)
    np.testing.assert_allclose(taken.predict_logits(TRAIN.texts), saved, atol=1e-5)
    assert abs(anew.predict_logits(TRAIN.texts) - saved).max() > 1e-2


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lora", {"variant": "pissa", "rank": 2}),
        ("prefix", {"virtual_tokens": 3, "projection": 8}),
        ("p_tuning", {"virtual_tokens": 3}),
    ],
)
def test_what_is_saved_in_another_form_than_it_is_trained_in_is_refused_and_says_so(
    method: str, options: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    fit(method, model, **options).save(tmp_path / "run" / "model")
    with pytest.raises(ConfigError, match=r"what it trains is not what it saves .* train on the old and the new data"):
        fit(method, model, tmp_path / "run" / "model", **options)
