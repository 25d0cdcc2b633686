"""Optimisers: what each weight gets, and what is refused without the hardware."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adjudge.core.errors import ConfigError, MissingExtraError
from adjudge.models.engine.network import Network
from adjudge.train.optimizers import build_optimizer, gradient_scaler, trained_parameters
from tests.train.builders import config, network_of, same, train, weights


def test_the_head_has_its_own_rate_and_vectors_do_not_decay(folders: Path) -> None:
    network = network_of("full", folders)
    options = config(learning_rate=1e-3, optimizer={"head_learning_rate": 1e-2}, weight_decay=0.1)
    optimizer = build_optimizer(network, options)
    described = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(described) == len(network.trainable()) == len(trained_parameters(optimizer))
    for name, parameter in network.trainable().items():
        rate = 1e-2 if name.startswith("head.") else 1e-3
        assert described[id(parameter)] == (rate, 0.1 if parameter.ndim > 1 else 0.0)


def test_a_weights_rate_is_multiplied_by_what_the_network_says(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "rate_multiplier", lambda _, name: 16.0 if "lora_B" in name else 1.0)
    network = network_of("score", folders)
    optimizer = build_optimizer(network, config(learning_rate=1e-3))
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in network.trainable().items():
        assert rates[id(parameter)] == pytest.approx(16e-3 if "lora_B" in name else 1e-3)


@pytest.mark.parametrize(("kind", "reference"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_options_reach_the_optimiser(kind: str, reference: type[torch.optim.Optimizer], folders: Path) -> None:
    optimizer = build_optimizer(
        network_of("score", folders), config(optimizer={"kind": kind, "betas": (0.8, 0.95), "epsilon": 1e-6})
    )
    assert type(optimizer) is reference
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.8, 0.95), 1e-6)


def test_the_decay_of_adam_is_in_the_gradient_and_that_of_adamw_is_not(folders: Path) -> None:
    found = []
    for kind in ("adam", "adamw"):
        network = network_of("score", folders)
        train(network, config(epochs=1.0, weight_decay=0.1, optimizer={"kind": kind}))
        found.append(weights(network))
    assert not same(*found)


@pytest.mark.parametrize("kind", ["adamw_8bit", "adamw_paged", "adamw_paged_8bit"])
def test_eight_bits_and_paging_need_a_gpu_and_say_so(kind: str, folders: Path) -> None:
    with pytest.raises(ConfigError, match=rf"'{kind}' runs on NVIDIA GPUs and there is none; allowed here: adam"):
        build_optimizer(network_of("score", folders), config(optimizer={"kind": kind}))


def test_a_gpu_without_the_package_is_told_what_to_install(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "device", torch.device("cuda"))
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"'bitsandbytes' is needed to train with .* pip install"):
        build_optimizer(network_of("score", folders), config(optimizer={"kind": "adamw_8bit"}))


def test_losses_are_scaled_in_float16_alone(folders: Path) -> None:
    network = network_of("score", folders)
    assert not gradient_scaler(network).is_enabled()
    network.precision = "float16"
    assert gradient_scaler(network).is_enabled()
