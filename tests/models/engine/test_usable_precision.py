"""Precisions that an architecture cannot be computed in."""

from __future__ import annotations

import warnings

import pytest
import torch
from transformers import AutoModel

from adjudge.core.errors import AdjudgeWarning
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.usable_precision import usable_precision
from adjudge.models.trunk.precision import Resolved
from tests.tiny_architectures import tiny_config


def engine_of(architecture: str) -> Engine:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Engine(AutoModel.from_config(tiny_config(architecture)), causal=False)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_fails_in_half_precision_is_computed_in_full_and_said(precision: Resolved) -> None:
    """DeBERTa hides positions by a number that 16 bits do not have."""
    engine = engine_of("deberta")
    with pytest.warns(
        AdjudgeWarning, match=rf"DebertaModel cannot be computed in {precision} \(.*\); float32 is taken"
    ):
        assert usable_precision(engine, precision) == "float32"


def test_states_that_overflow_are_no_states(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of("bert")
    with torch.no_grad():
        engine.trunk.encoder.layer[-1].output.dense.weight.fill_(torch.inf)
    with pytest.warns(AdjudgeWarning, match="states overflow"):
        assert usable_precision(engine, "float16") == "float32"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_works_stays_as_it_was_wanted(precision: Resolved) -> None:
    engine = engine_of("bert")
    engine.trunk.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert usable_precision(engine, precision) == precision
    assert engine.trunk.training
