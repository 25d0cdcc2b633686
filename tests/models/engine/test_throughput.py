"""Operations of a token, counted by hand, and the machine's matrix peak."""

from __future__ import annotations

from pathlib import Path

import pytest

from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.throughput import matrix_peak, operations_per_token
from adjudge.models.trunk.loading import load_pretrained
from adjudge.models.trunk.lookup import keep_gradients
from tests.tiny_models import tiny_llama

# Tiny Llama: width 32, 4 query heads and 4 or 2 key-value heads of width 8, feed-forward width 64, 2 layers.
FEED_FORWARD = 3 * 32 * 64


def network_of(folder: Path) -> Network:
    trunk = load_pretrained(str(tiny_llama(folder))).trunk
    return Network(Engine(trunk, causal=True), ScoreHead(32, 3, pooling="last"), ())


def layer_weights(network: Network) -> int:
    config = network.engine.trunk.config
    key_value = 32 * 8 * config.num_key_value_heads
    return 2 * 32 * 32 + 2 * key_value + FEED_FORWARD


def test_trained_weights_cost_six_operations_and_frozen_ones_without_anything_below_two(tmp_path: Path) -> None:
    network = network_of(tmp_path / "m")
    weights = 2 * layer_weights(network)
    assert operations_per_token(network) == (2 * weights, 6 * weights)
    network.engine.trunk.requires_grad_(False)
    assert operations_per_token(network) == (2 * weights, 2 * weights)


def test_frozen_weights_cost_four_from_the_lowest_adapted_layer_on(tmp_path: Path) -> None:
    network = network_of(tmp_path / "m")
    trunk, layer = network.engine.trunk, layer_weights(network)
    add_lora(trunk, rank=2, alpha=4, dropout=0, targets=linear_layers(trunk, "all", last_layers=1))
    adapters = sum(parameter.numel() for parameter in trunk.parameters() if parameter.requires_grad)
    forward, step = operations_per_token(network)
    assert forward == 2 * (2 * layer + adapters)
    assert step == 2 * layer + 4 * layer + 6 * adapters


def test_a_table_that_keeps_its_gradient_is_looked_up_as_any_other(tmp_path: Path) -> None:
    network = network_of(tmp_path / "m")
    expected = operations_per_token(network)
    keep_gradients(network.engine.trunk)
    assert operations_per_token(network) == expected


def test_the_matrix_peak_is_a_rate_and_measured_once() -> None:
    peak = matrix_peak("cpu", "float32")
    assert peak > 1e8
    assert matrix_peak("cpu", "float32") == pytest.approx(peak, rel=0)
