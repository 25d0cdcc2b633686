"""`embedding`: scikit-learn's pipeline on frozen states, folded into one layer; states computed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.methods import embedding as module
from tests.tiny_models import tiny_model

LABELS = ("a", "b", "c")


def split(name: str, n: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    labels = [LABELS[int(i)] for i in generator.integers(0, 3, n)]
    texts = [f"{label * 3} {generator.integers(1000)} {label}" for label in labels]
    return Split(name, texts, labels, [f"{name}{i}" for i in range(n)])


TRAIN, VALIDATION = split("train", 40, 0), split("validation", 12, 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("embedding")
    return {name: tiny_model(name, root / name) for name in ("bert", "llama")}


def fit(model: Path, train: Split = TRAIN, cache: Path | None = None, **options: Any) -> Fitted:
    method = METHODS.load("embedding")
    config = method.config(**{"model": str(model), "precision": "float32", **options})
    return method.fit(train, VALIDATION, config, Setting(Task(name="t"), LABELS, cache=cache))


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_the_folded_layer_is_scikit_learns_pipeline_on_the_states(architecture: str, models: dict[str, Path]) -> None:
    fitted = fit(models[architecture], c=0.1)
    setting = Setting(Task(name="t"), LABELS)
    states = [
        module.pooled_states(fitted.classifier, fitted.facts["pooling"], part.texts, setting).astype(np.float64)
        for part in (TRAIN, VALIDATION)
    ]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8, max_iter=5000))
    pipeline.fit(states[0], [LABELS.index(str(label)) for label in TRAIN.labels])
    expected = pipeline.predict_proba(states[1])
    np.testing.assert_allclose(fitted.classifier.predict_proba(VALIDATION.texts), expected, atol=5e-3)
    assert fitted.facts["pooling"] == ("mean" if architecture == "bert" else "last")


def test_c_is_chosen_on_validation_and_counted(models: dict[str, Path]) -> None:
    chosen, given = fit(models["bert"]), fit(models["bert"], c=0.5)
    scores = chosen.facts["validation_macro_f1_by_c"]
    assert len(scores) == len(module.GRID)
    assert scores[f"{chosen.facts['c']:g}"] == max(scores.values())
    assert chosen.labels_used == {"train": 40, "validation": 12}
    assert given.labels_used == {"train": 40, "validation": 0}


def test_states_are_computed_once_for_the_same_model_prompt_and_texts(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    original = module.pooled_states

    def counting(*args: Any) -> Any:
        computed.append(len(args[2]))
        return original(*args)

    monkeypatch.setattr(module, "pooled_states", counting)
    first = fit(models["bert"], cache=tmp_path)
    assert computed == [40, 12]
    again = fit(models["bert"], cache=tmp_path, c=0.1)
    relabelled = fit(models["bert"], replace(TRAIN, labels=TRAIN.labels[::-1]), cache=tmp_path)
    assert computed == [40, 12]
    del again, relabelled
    without = fit(models["bert"])
    np.testing.assert_array_equal(
        first.classifier.predict_logits(VALIDATION.texts), without.classifier.predict_logits(VALIDATION.texts)
    )
    computed.clear()
    fit(models["bert"], replace(TRAIN, texts=[*TRAIN.texts[:-1], "another"]), cache=tmp_path)
    assert computed == [40]
    fit(models["llama"], cache=tmp_path)
    fit(models["bert"], cache=tmp_path, pooling="first")
    fit(models["bert"], cache=tmp_path, max_tokens=9)
    assert computed == [40, *[40, 12] * 3]
    assert len(list((tmp_path / "states").iterdir())) == 9


def test_the_names_of_the_splits_do_not_matter(models: dict[str, Path]) -> None:
    named = fit(models["bert"], replace(TRAIN, name="validation"), c=0.1)
    np.testing.assert_array_equal(
        named.classifier.predict_logits(TRAIN.texts), fit(models["bert"], c=0.1).classifier.predict_logits(TRAIN.texts)
    )


def test_the_trunk_stays_frozen(models: dict[str, Path]) -> None:
    trunk = fit(models["bert"]).classifier.network.engine.trunk
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
