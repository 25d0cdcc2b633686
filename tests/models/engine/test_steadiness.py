"""The way of predicting that rounds a row the same in any batch: sought, taken, or said to be missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adjudge.core.errors import ConfigError
from adjudge.models.engine.engine import Engine, States, steadiness
from adjudge.models.engine.steadiness import make_steady
from tests.models.engine import one_by_one as ref
from tests.models.engine.test_engine import build


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(ref.load_trunk(ref.model_folder("bert", tmp_path / "bert"), torch.float32), causal=False)


def unsteady(engine: Engine, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Let states of several rows together be a little off."""
    states = engine.states

    def shifted(encoded: Any, *args: Any, **options: Any) -> States:
        found = states(encoded, *args, **options)
        found.hidden.mul_(1 + share * (len(encoded) > 1 and engine.prediction_path != "equal lengths"))
        return found

    monkeypatch.setattr(engine, "states", shifted)


def test_float32_needs_no_second_probe(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    unsteady(engine, monkeypatch, 0.1)
    assert make_steady(engine, "float32")


@pytest.mark.parametrize(("share", "steady"), [(0.0, True), (0.03, False)])
def test_rows_together_are_compared_with_rows_alone(
    share: float, steady: bool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "PROBE_TOLERANCE", 0.02)  # so that it holds on any processor
    unsteady(engine, monkeypatch, share)
    engine.trunk.train()
    assert make_steady(engine, "bfloat16") is steady
    assert engine.trunk.training
    assert engine.path == engine.prediction_path == "packed"
    assert engine.reason == ""


def test_where_padding_alone_is_the_cause_rows_are_predicted_by_equal_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(build("mpnet", {"intermediate_size": 64}).float(), causal=False)
    assert engine.path == "padded"
    monkeypatch.setattr(steadiness, "PROBE_TOLERANCE", 0.05)
    unsteady(engine, monkeypatch, 0.1)
    assert make_steady(engine, "bfloat16")
    assert (engine.path, engine.prediction_path) == ("padded", "equal lengths")
    assert "rows are predicted by equal lengths, since padding changes how bfloat16 rounds them" in engine.reason


def test_where_nothing_helps_rows_stay_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(build("mpnet", {"intermediate_size": 64}).float(), causal=False)
    reason = engine.reason
    monkeypatch.setattr(steadiness, "_rounds_alike", lambda *_: False)
    assert not make_steady(engine, "bfloat16")
    assert (engine.prediction_path, engine.reason) == ("padded", reason)


def test_a_precision_that_the_architecture_does_not_run_in_is_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: Any, **__: Any) -> States:
        raise RuntimeError("value cannot be converted without overflow")

    monkeypatch.setattr(engine, "states", overflow)
    with pytest.raises(ConfigError, match=r"precision: BertModel does not run in bfloat16 .*; set precision: float32"):
        make_steady(engine, "bfloat16")
