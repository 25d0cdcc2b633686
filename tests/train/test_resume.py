"""A training that is interrupted at any step ends where the uninterrupted one ends, bit for bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adjudge.core.errors import WorkError
from adjudge.core.protocols import SilentProgress
from adjudge.models.engine.network import Network
from adjudge.train.checkpoints import Checkpoints
from adjudge.train.loop import Trainer
from adjudge.train.selection import Selection
from adjudge.train.trained import Trained
from tests.train.builders import config, network_of, rows, same, weights
from tests.train.interruption import Interrupted, Until

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulation": 3, "class_weight": "balanced"},
    "average": {"optimizer": {"average": "ema", "average_decay": 0.6, "kind": "adam"}},
    "patience": {"evaluation": {"every_steps": 1, "patience": 2}, "learning_rate": 1e-9, "schedule": "constant"},
    "target": {"evaluation": {"every_steps": 1, "target_accuracy": 0.4}},
    "r_drop": {"loss": {"r_drop": 1.0, "kind": "focal"}, "gradient_checkpointing": True},
}


def fit(
    network: Network, options: dict[str, Any], folder: Path | None, until: int = 0, precision: Any = "float32"
) -> tuple[Trained, Selection, list[dict[str, Any]]]:
    network.precision = precision
    events: list[dict[str, Any]] = []
    kept = Checkpoints(folder, 0.0, events.append) if folder else None
    progress = Until(until) if until else SilentProgress()
    settings = config(**{"epochs": 1.5, "schedule": "cosine", "warmup": 2, **options})
    trainer = Trainer(network, settings, 0, progress, events.append, checkpoints=kept)
    done, selection = trainer.fit(rows(30), rows(24, 1), 3)
    return done, selection, events


COUNTS = ("steps", "rows_seen", "tokens", "best_step", "best_macro_f1", "stopped", "warm_rows")


def interrupted_everywhere(network: Network, options: dict[str, Any], folder: Path, **more: Any) -> None:
    def build() -> Network:
        return copy.deepcopy(network)

    whole = build()
    expected, expected_selection, _ = fit(whole, options, None, **more)
    for step in range(1, expected.steps + 1):
        with pytest.raises(Interrupted):
            fit(build(), options, folder / str(step), until=step, **more)
        resumed = build()
        done, selection, events = fit(resumed, options, folder / str(step), **more)
        assert same(weights(resumed), weights(whole)), step
        assert [getattr(done, name) for name in COUNTS] == [getattr(expected, name) for name in COUNTS]
        np.testing.assert_array_equal(selection.logits, expected_selection.logits)
        # The step that was interrupted was done but not kept: it is done again.
        assert done.resumed_after == ([step - 1] if step > 1 else [])
        assert [event["event"] for event in events].count("note") == len(done.resumed_after)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_interrupted_at_every_step(name: str, folders: Path, tmp_path: Path) -> None:
    interrupted_everywhere(network_of("score", folders, dropout=0.2), OPTIONS[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["label", "full"])
def test_every_kind_of_network(kind: str, folders: Path, tmp_path: Path) -> None:
    interrupted_everywhere(network_of(kind, folders, dropout=0.2), OPTIONS["plain"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_every_precision(precision: str, folders: Path, tmp_path: Path) -> None:
    interrupted_everywhere(network_of("score", folders, dropout=0.2), {"epochs": 0.75}, tmp_path, precision=precision)


def test_interrupted_again_and_again(folders: Path, tmp_path: Path) -> None:
    whole, resumed = network_of("score", folders, dropout=0.2), network_of("score", folders, dropout=0.2)
    fit(whole, {}, None)
    for _ in range(4):
        with pytest.raises(Interrupted):
            fit(network_of("score", folders, dropout=0.2), {}, tmp_path / "c", until=2)
    done, _, _ = fit(resumed, {}, tmp_path / "c")
    assert done.resumed_after == [1, 2, 3, 4]
    assert same(weights(resumed), weights(whole))


def test_interrupted_after_training_nothing_is_trained_again(folders: Path, tmp_path: Path) -> None:
    first, second = network_of("score", folders), network_of("score", folders)
    expected, _, _ = fit(first, {}, tmp_path / "c")
    done, _, events = fit(second, {}, tmp_path / "c")
    assert (done.steps, done.tokens) == (expected.steps, expected.tokens)
    assert same(weights(first), weights(second))
    assert not [event for event in events if event["event"] in ("step", "evaluation")]


@pytest.mark.slow
def test_the_state_of_an_adapter_is_kept_too(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a method that moves its budget by what it has seen."""

    def after_step(self: Network, step: int) -> None:
        self.head.seen = self.head.seen + step
        with torch.no_grad():
            self.head.linear.bias.add_(self.head.seen)

    monkeypatch.setattr(Network, "after_step", after_step)
    monkeypatch.setattr(Network, "adapter_state", lambda self: {"seen": self.head.seen})
    monkeypatch.setattr(Network, "load_adapter_state", lambda self, state: setattr(self.head, "seen", state["seen"]))
    network = network_of("score", folders)
    network.head.register_buffer("seen", torch.zeros(1), persistent=False)
    interrupted_everywhere(network, {}, tmp_path)


def test_another_networks_checkpoint_is_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(network_of("score", folders), {}, tmp_path / "c", until=3)
    with pytest.raises(WorkError, match="holds other weights than this method trains"):
        fit(network_of("full", folders), {}, tmp_path / "c")
