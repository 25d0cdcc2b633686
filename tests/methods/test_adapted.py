"""What all methods that change a trunk share: what learns, what stays, what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.methods.adapted import Adapted, AdaptedConfig, fit_adapted
from adjudge.models.adapters import add_lora
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.trunk.loading import load_pretrained
from adjudge.train.optimizers import build_optimizer
from adjudge.train.training_config import TrainingConfig
from tests.methods.test_lora import LABELS, TRAIN, VALIDATION
from tests.tiny_models import tiny_model

ADAPTED = ("linear_probe", "bitfit", "lora", "qlora", "adalora", "ia3", "bottleneck", "prompt", "p_tuning", "prefix")
# The base model's weights stay bit for bit, quantised ones and PiSSA's residue aside.
KEEPING = [name for name in ADAPTED if name != "qlora"]


def fit(method: str, model: Path, log: list[dict[str, Any]] | None = None, **options: Any) -> Fitted:
    training = {"epochs": 1.0, "batch_size": 8, **options.pop("training", {})}
    chosen = METHODS.load(method)
    given = {"model": str(model), "precision": "float32", "training": training, **options}
    setting = Setting(Task(name="t"), LABELS, log=(log if log is not None else []).append)
    return chosen.fit(TRAIN, VALIDATION, validate(chosen.config, given, method), setting)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapted")
    return {name: tiny_model(name, root / name) for name in ("bert", "llama", "mixtral")}


@pytest.mark.parametrize(("architecture", "head"), [("llama", "score"), ("llama", "label"), ("bert", "score")])
@pytest.mark.parametrize("method", ADAPTED)
def test_weights_learn_the_base_stays_and_the_saved_model_is_the_trained_one(
    method: str, architecture: str, head: str, models: dict[str, Path], tmp_path: Path
) -> None:
    events: list[dict[str, Any]] = []
    fitted = fit(method, models[architecture], events, head={"kind": head})
    network, facts = fitted.classifier.network, fitted.facts  # type: ignore[attr-defined]
    assert facts["engine"] == "packed"
    base = load_pretrained(str(models[architecture])).trunk.state_dict()
    tuned = {name.replace(".base_layer", ""): value for name, value in network.engine.trunk.state_dict().items()}
    assert tuned.keys() >= base.keys()
    moved = {name for name in base if not torch.equal(tuned[name], base[name])}
    if method == "bitfit":
        assert all(name.endswith(".bias") for name in moved)
    elif method in KEEPING:
        assert moved == set()
    learning = network.trainable()
    assert facts["trainable_share"] == facts["trainable_parameters"] / facts["total_parameters"]
    assert facts["trainable_parameters"] == sum(p.numel() for p in learning.values())
    assert any(name.startswith("trunk.") for name in learning) == (method != "linear_probe")
    notes = [event["message"] for event in events if event["event"] == "note"]
    assert any(f"{facts['trainable_share']:.3%} of the weights learn" in note for note in notes)
    fitted.classifier.save(tmp_path / "model")
    loaded = NeuralClassifier.load(tmp_path / "model")
    expected = fitted.classifier.predict_logits(VALIDATION.texts)
    np.testing.assert_array_equal(loaded.predict_logits(VALIDATION.texts), expected)


@pytest.mark.parametrize("method", ADAPTED)
def test_the_kind_alone_is_a_whole_config(method: str) -> None:
    config = validate(METHODS.load(method).config, {"kind": method}, "recipe")
    assert isinstance(config, AdaptedConfig)
    assert config.model == "smollm2-135m"
    assert config.training.weight_decay == 0


def test_every_weight_of_a_causal_model_can_learn(models: dict[str, Path], tmp_path: Path) -> None:
    fitted = fit("full", models["llama"], head={"kind": "label"}, training={"learning_rate": 1e-3})
    base = load_pretrained(str(models["llama"])).trunk.state_dict()
    tuned = dict(fitted.classifier.network.engine.trunk.named_parameters())  # type: ignore[attr-defined]
    assert not [name for name in tuned if torch.equal(tuned[name], base[name])]
    fitted.classifier.save(tmp_path / "model")
    expected = fitted.classifier.predict_logits(VALIDATION.texts)
    np.testing.assert_array_equal(NeuralClassifier.load(tmp_path / "model").predict_logits(VALIDATION.texts), expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", ["dora", "pissa"])
@pytest.mark.parametrize("architecture", ["llama", pytest.param("bert", marks=pytest.mark.slow)])
def test_loras_variants_load_as_trained(
    variant: str, architecture: str, precision: str, models: dict[str, Path], tmp_path: Path
) -> None:
    options = {"variant": variant, "rank_stabilised": True, "training": {"learning_rate": 0.01}}
    fitted = fit("lora", models[architecture], precision=precision, **options)
    fitted.classifier.save(tmp_path / "model")
    expected = fitted.classifier.predict_logits(VALIDATION.texts)
    found = NeuralClassifier.load(tmp_path / "model").predict_logits(VALIDATION.texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("full", {}),
        ("lora", {"head": {"kind": "label"}}),
        ("prefix", {"projection": 8}),
        ("p_tuning", {"encoder": "lstm", "start": "vocabulary"}),
        ("prompt", {"start": "vocabulary", "attention": "bidirectional"}),
        ("bottleneck", {"placement": "houlsby", "nonlinearity": "relu"}),
        ("ia3", {"targets": "mlp"}),
    ],
)
def test_options_load_as_trained(
    method: str, options: dict[str, Any], models: dict[str, Path], tmp_path: Path
) -> None:
    given = (
        options
        if "attention" in options or method not in ("full", "lora")
        else {**options, "attention": "bidirectional"}
    )
    fitted = fit(method, models["llama"], **given)
    assert fitted.facts.get("attention") == given.get("attention")
    fitted.classifier.save(tmp_path / "model")
    expected = fitted.classifier.predict_logits(VALIDATION.texts)
    found = NeuralClassifier.load(tmp_path / "model").predict_logits(VALIDATION.texts)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_encoder_looks_both_ways_already(models: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="'bert' is an encoder, which looks both ways"):
        fit("lora", models["bert"], attention="bidirectional")


def test_lora_plus_gives_b_its_own_rate(models: dict[str, Path]) -> None:
    options = {"learning_rate": 1e-3, "optimizer": {"lora_plus_ratio": 16}}
    network = fit("lora", models["llama"], training=options).classifier.network  # type: ignore[attr-defined]
    config = TrainingConfig(learning_rate=1e-3, epochs=1.0)
    rates = {id(p): group["lr"] for group in build_optimizer(network, config).param_groups for p in group["params"]}
    for name, parameter in network.trainable().items():
        assert rates[id(parameter)] == pytest.approx(16e-3 if ".lora_B." in name else 1e-3)


def test_ia3s_vectors_are_not_decayed(models: dict[str, Path]) -> None:
    network = fit("ia3", models["llama"]).classifier.network  # type: ignore[attr-defined]
    config = TrainingConfig(learning_rate=1e-3, epochs=1.0, weight_decay=0.1)
    groups = build_optimizer(network, config).param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in network.trainable().items():
        assert decays[id(parameter)] == (0.1 if name == "head.linear.weight" else 0.0), name


def test_qlora_says_what_was_rounded_and_how_it_computes(models: dict[str, Path]) -> None:
    events: list[dict[str, Any]] = []
    fitted = fit("qlora", models["llama"], events)
    facts = fitted.facts["quantization"]
    assert (facts["format"], facts["block"], facts["scale_block"]) == ("nf4", 64, 256)
    assert "numerics of 4 bits, not their memory" in facts["compute"]
    assert any("of the base in NF4" in event.get("message", "") for event in events)
    head = fitted.classifier.network.head  # type: ignore[attr-defined]
    assert {parameter.dtype for parameter in head.parameters()} == {torch.float32}


def test_adalora_ends_with_the_ranks_it_was_given(models: dict[str, Path]) -> None:
    fitted = fit("adalora", models["llama"], rank=2, start_rank=4, training={"epochs": 7.0, "learning_rate": 0.01})
    ranks = fitted.facts["ranks"]
    assert len(ranks) == 14
    # The best checkpoint may be one from before the last choice.
    assert 2 * 14 <= sum(ranks.values()) <= 4 * 14
    with pytest.raises(ConfigError, match="`start_rank` must not be below `rank` \\(8\\)"):
        validate(METHODS.load("adalora").config, {"start_rank": 4}, "recipe")


def test_adaloras_ranks_hold_in_a_moving_average_too(models: dict[str, Path]) -> None:
    optimizer = {"average": "ema", "average_decay": 0.9}
    training = {"epochs": 10.0, "learning_rate": 0.01, "optimizer": optimizer, "evaluation": {"every_steps": 30}}
    fitted = fit("adalora", models["llama"], rank=2, start_rank=6, training=training)
    assert sum(fitted.facts["ranks"].values()) == 2 * 14


@pytest.mark.parametrize("method", ["adalora", "bitfit", "ia3"])
def test_experts_that_would_learn_nothing_are_an_error_with_their_share(method: str, models: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"would leave out \d\d% of the layers' weights"):
        fit(method, models["mixtral"])


def test_a_mixtures_router_loss_is_kept_while_anything_of_it_learns(models: dict[str, Path]) -> None:
    for method, count in (("lora", 1), ("linear_probe", 0)):
        network = fit(method, models["mixtral"]).classifier.network  # type: ignore[attr-defined]
        assert len(network.companions) == count


def test_virtual_tokens_leave_room_in_the_models_positions(models: dict[str, Path]) -> None:
    plain, prompt = (
        fit(method, models["bert"], max_tokens=1000).classifier.prompt.max_tokens  # type: ignore[attr-defined]
        for method in ("bitfit", "prompt")
    )
    assert plain - prompt == 20


def test_a_frozen_trunk_runs_without_dropout(models: dict[str, Path]) -> None:
    for method, runs in (("linear_probe", False), ("bitfit", True)):
        network = fit(method, models["bert"]).classifier.network  # type: ignore[attr-defined]
        network.train(True)
        assert network.engine.trunk.training is runs
        assert network.head.training


def test_a_label_probe_trains_the_words_rows(models: dict[str, Path]) -> None:
    network = fit("linear_probe", models["llama"], head={"kind": "label"}).classifier.network  # type: ignore[attr-defined]
    assert set(network.trainable()) == {"head.rows"}


def test_a_target_without_learning_weights_is_refused_with_its_share(models: dict[str, Path]) -> None:
    def half(pretrained: Any) -> Adapted:
        add_lora(pretrained.trunk, rank=2, alpha=4, dropout=0.0, targets=["layers.0.mlp.up_proj"])
        return Adapted("lora", ["layers.0.mlp.up_proj", "layers.1.mlp.up_proj"])

    config = METHODS.load("lora").config(model=str(models["llama"]))
    with pytest.raises(ConfigError, match=r"1 of 2 targets \(\d+% of the weights\) would learn nothing.*layers.1.mlp"):
        fit_adapted(TRAIN, VALIDATION, config, Setting(Task(name="t"), LABELS), half)


def weights(fitted: Fitted) -> dict[str, torch.Tensor]:
    return fitted.classifier.network.trainable()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("method", "architecture"), [("lora", "llama"), ("full", "bert"), ("prompt", "llama")])
def test_dropout_of_the_trunk_changes_the_steps_and_is_recorded(
    method: str, architecture: str, models: dict[str, Path]
) -> None:
    def run(**loss: float) -> Fitted:
        head = {"kind": "score", "dropout": 0.0}
        return fit(method, models[architecture], head=head, training={"loss": loss})

    dropped, none, again = run(dropout=0.4), run(dropout=0.0), run(dropout=0.0)
    for name, weight in weights(none).items():
        torch.testing.assert_close(weight, weights(again)[name], rtol=0, atol=0)
    assert any(not torch.equal(weight, weights(none)[name]) for name, weight in weights(dropped).items())
    assert set(dropped.facts["dropout"].values()) == {0.4}
    assert set(none.facts["dropout"].values()) == {0.0}
    own = run()
    assert own.facts["dropout"] == dict.fromkeys(none.facts["dropout"], 0.1 if architecture == "bert" else 0.0)
    only = run(attention_dropout=0.3).facts["dropout"]
    assert {rate for name, rate in only.items() if name.startswith("att")} == {0.3}


def test_dropout_of_a_lora_trunk_leaves_the_layers_fused(models: dict[str, Path]) -> None:
    def layers(**options: Any) -> set[str]:
        fitted = fit("lora", models["llama"], **options)
        modules = fitted.classifier.network.engine.trunk.modules()  # type: ignore[attr-defined]
        return {type(module).__name__ for module in modules}

    assert "LowRankLinear" in layers(training={"loss": {"dropout": 0.2}})
    assert "LowRankLinear" not in layers(dropout=0.2)


def test_dropout_of_a_trunk_that_learns_nothing_is_refused(models: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="with 'linear_probe' the trunk learns nothing"):
        fit("linear_probe", models["llama"], training={"loss": {"dropout": 0.1}})
