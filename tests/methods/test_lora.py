"""`lora` and `full`: what learns, what stays, and that both learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adjudge.core.config import validate
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.models.trunk.loading import load_pretrained
from tests.tiny_models import tiny_model

LABELS = ("plus", "minus")


def split(name: str, n: int) -> Split:
    texts = [("++ " if i % 2 else "-- ") + "thing " * (i % 3) for i in range(n)]
    return Split(name, texts, [LABELS[(i + 1) % 2] for i in range(n)], [f"{name}{i}" for i in range(n)])


TRAIN, VALIDATION = split("train", 24), split("validation", 8)


def fit(method: str, model: Path, **options: Any) -> Fitted:
    training = {"epochs": 1.0, "batch_size": 8, "learning_rate": 0.01, **options.pop("training", {})}
    chosen = METHODS.load(method)
    given = {"model": str(model), "precision": "float32", "training": training, **options}
    return chosen.fit(TRAIN, VALIDATION, validate(chosen.config, given, method), Setting(Task(name="t"), LABELS))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("lora")
    return {name: tiny_model(name, root / name) for name in ("bert", "llama", "mixtral")}


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_lora_leaves_the_base_model_as_it_is(architecture: str, models: dict[str, Path]) -> None:
    fitted = fit("lora", models[architecture])
    base = load_pretrained(str(models[architecture])).trunk.state_dict()
    tuned = {
        name.replace(".base_layer", ""): tensor
        for name, tensor in fitted.classifier.network.engine.trunk.state_dict().items()
        if "lora_" not in name
    }
    assert tuned.keys() == base.keys()
    assert all(torch.equal(tuned[name], base[name]) for name in base)
    moved = {
        name: tensor for name, tensor in fitted.classifier.network.engine.trunk.named_parameters() if "lora_B" in name
    }
    assert len(moved) == fitted.facts["adapted_layers"]
    assert all(bool(tensor.any()) for tensor in moved.values())


def test_parameters_are_counted_by_hand(models: dict[str, Path]) -> None:
    fitted = fit("lora", models["llama"], rank=3, targets="attention")
    # q and o: 32 -> 32; k and v: 32 -> 16 (two key-value heads of four); two layers; and the head.
    adapters = 2 * 3 * (2 * (32 + 32) + 2 * (32 + 16))
    assert fitted.facts["trainable_parameters"] == adapters + 2 * 32 + 2
    assert fitted.labels_used == {"train": 24, "validation": 8}


def test_full_moves_every_weight(models: dict[str, Path]) -> None:
    fitted = fit("full", models["bert"])
    base = load_pretrained(str(models["bert"])).trunk.state_dict()
    tuned = dict(fitted.classifier.network.engine.trunk.named_parameters())
    still = {name for name in tuned if torch.equal(tuned[name], base[name])}
    assert still == set()
    assert fitted.facts["trainable_parameters"] == fitted.facts["total_parameters"]


def test_a_mixtures_experts_learn_and_its_router_where_it_is_named(models: dict[str, Path]) -> None:
    fitted = fit("lora", models["mixtral"])
    assert fitted.facts["adapted_layers"] == 8 + 4
    assert not [name for name in fitted.facts["targets"] if "gate.weight" in name]
    fitted = fit("lora", models["mixtral"], targets=["attention", "router"])
    assert fitted.facts["adapted_layers"] == 8 + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "architecture", "options"),
    [
        ("lora", "llama", {"head": {"kind": "label"}}),
        ("lora", "llama", {"head": {"kind": "score"}}),
        ("full", "bert", {}),
    ],
)
def test_a_plain_difference_is_learned(
    method: str, architecture: str, options: dict[str, Any], models: dict[str, Path]
) -> None:
    fitted = fit(method, models[architecture], training={"epochs": 12.0, "learning_rate": 5e-3}, **options)
    assert fitted.classifier.predict(VALIDATION.texts) == list(VALIDATION.labels)
    assert fitted.facts["engine"] == "packed"
    assert fitted.facts["best_validation_macro_f1"] == 1.0
