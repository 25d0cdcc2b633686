"""Which number format is chosen, and what it changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
import torch

from adjudge.models.trunk import precision
from adjudge.models.trunk.precision import BATCH_TOLERANCES, Resolved, compute, default_device, resolve_precision

CPU = torch.device("cpu")


def test_what_is_asked_for_is_taken() -> None:
    assert resolve_precision("bfloat16", CPU) == "bfloat16"
    assert resolve_precision("float32", CPU) == "float32"


@pytest.mark.parametrize(("has_units", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_goes_by_the_cpus_units(has_units: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: has_units)
    assert resolve_precision("auto", CPU) == chosen


def test_every_precision_states_what_neighbours_may_change_and_the_guide_says_the_same() -> None:
    assert set(BATCH_TOLERANCES) == set(get_args(Resolved))
    guide = (Path(__file__).parents[3] / "docs" / "predicting.md").read_text(encoding="utf-8")
    for name, tolerance in BATCH_TOLERANCES.items():
        assert 0 < tolerance.stated <= tolerance.most
        assert f"| {name} | {tolerance.stated:g} | {tolerance.most:g} |" in guide


def test_matrix_products_run_in_it_and_weights_stay() -> None:
    layer, x = torch.nn.Linear(3, 3), torch.ones(1, 3)
    with compute("bfloat16", CPU):
        assert layer(x).dtype == torch.bfloat16
    with compute("float32", CPU):
        assert layer(x).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_compiled_products_are_few_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "7")
    compute("bfloat16", CPU)
    assert os.environ[name] == "7"
    monkeypatch.delenv(name)
    compute("float32", CPU)
    assert name not in os.environ
    compute("bfloat16", CPU)
    assert os.environ[name] == "128"


def test_the_device_is_one_that_is_there() -> None:
    assert torch.ones(1, device=default_device()).sum().item() == 1
