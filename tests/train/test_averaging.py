"""The moving average of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adjudge.train.averaging import WeightAverage, copy_weights
from tests.train.builders import config, network_of, same, train, weights


def shift(network: object, by: float) -> None:
    with torch.no_grad():
        for parameter in network.trainable().values():  # type: ignore[attr-defined]
            parameter.add_(by)


def test_by_hand(folders: Path) -> None:
    """The first update takes the weights as they are; the second keeps min(decay, 3 / 12) of them."""
    network = network_of("score", folders)
    start = copy_weights(network)
    average = WeightAverage(0.9)
    average.update(network)
    assert same(average.weights, start)
    shift(network, 1.0)
    average.update(network)
    for name, weight in start.items():
        torch.testing.assert_close(average.weights[name], weight + 0.75)
    slow = WeightAverage(0.1)
    slow.update(network)
    shift(network, 1.0)
    slow.update(network)
    for name, weight in start.items():
        torch.testing.assert_close(slow.weights[name], weight + 1.9)


def test_it_stands_in_for_the_weights_for_the_length_of_a_block(folders: Path) -> None:
    network = network_of("score", folders)
    average = WeightAverage(0.9)
    average.update(network)
    shift(network, 1.0)
    trained = weights(network)
    with average.applied(network):
        assert same(weights(network), average.weights)
    assert same(weights(network), trained)
    with pytest.raises(RuntimeError), average.applied(network):
        raise RuntimeError
    assert same(weights(network), trained)


def test_the_average_is_what_is_validated_and_kept(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    update = WeightAverage.update

    def spying(self: WeightAverage, network: object) -> None:
        update(self, network)  # type: ignore[arg-type]
        kept.append({name: weight.clone() for name, weight in self.weights.items()})

    monkeypatch.setattr(WeightAverage, "update", spying)
    options = {"epochs": 2.0, "evaluations_per_epoch": 1}
    averaged, plain = network_of("score", folders), network_of("score", folders)
    done, _ = train(averaged, config(**options, optimizer={"average": "ema", "average_decay": 0.5}))
    train(plain, config(**options))
    assert len(kept) == done.steps == 8
    assert same(weights(averaged), kept[done.best_step - 1])
    assert not same(weights(averaged), weights(plain))
