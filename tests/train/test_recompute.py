"""Gradient checkpointing changes memory and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adjudge.core.errors import ConfigError
from adjudge.models.engine.network import Network
from adjudge.train import recompute
from tests.tiny_models import FAMILIES
from tests.train.builders import config, network_of, rows, same, train, weights


def recomputes(network: Network) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in network.engine.trunk.modules())


@pytest.mark.parametrize("kind", ["label", "full", *FAMILIES])
def test_the_trained_weights_are_the_same_bits(kind: str, folders: Path) -> None:
    found = []
    for recomputed in (False, True):
        network = network_of(kind, folders, dropout=0.2)
        train(network, config(epochs=1.0, gradient_checkpointing=recomputed))
        found.append(weights(network))
    assert same(*found)


def test_it_is_on_while_training_and_off_after(folders: Path) -> None:
    network = network_of("score", folders)
    with recompute.recomputed(network, rows(2).encoded, enabled=True):
        assert recomputes(network)
    assert not recomputes(network)
    with recompute.recomputed(network, rows(2).encoded, enabled=False):
        assert not recomputes(network)


def test_activations_are_not_kept(folders: Path) -> None:
    saved = []
    for recomputed in (False, True):
        network, size = network_of("score", folders), [0]

        def count(tensor: torch.Tensor, size: list[int] = size) -> torch.Tensor:
            size[0] += tensor.numel()
            return tensor

        with recompute.recomputed(network, rows(2).encoded, enabled=recomputed):
            network.train(True)
            with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
                network.logits(rows(16).encoded).sum()
        saved.append(size[0])
    assert saved[1] < saved[0] / 2


def test_a_model_without_it_is_refused(folders: Path) -> None:
    network = network_of("score", folders)
    network.engine.trunk.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match=r"LlamaModel does not support it; .* raise training\.accumulation"):
        train(network, config(gradient_checkpointing=True))


def test_layers_that_answer_differently_when_recomputed_are_refused(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers' recomputed layers drop cached keys and values, which prefix tuning lives by."""
    network, logits = network_of("score", folders), Network.logits

    def dropping(self: Network, encoded: Any) -> torch.Tensor:
        return logits(self, encoded) + float(recomputes(self))

    monkeypatch.setattr(Network, "logits", dropping)
    with pytest.raises(ConfigError, match=r"answers differently with it under this method"):
        train(network, config(gradient_checkpointing=True))
    assert not recomputes(network)
