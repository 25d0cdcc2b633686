"""Every method that is trained in steps: interrupted at a random one and resumed, it saves the uninterrupted bytes.

A new method is tested by being listed: the cases are those of the contract tests.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adjudge.core.hashing import hash_file
from adjudge.core.protocols import SilentProgress
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.train.checkpoints import Checkpoints
from tests.contracts.conftest import LABELS, TRAIN, VALIDATION, Bench, Case, cases
from tests.train.interruption import Interrupted, Until

pytestmark = pytest.mark.slow  # the methods of the contract tests, twice each

TRAINED = [case for case in cases() if "training" in METHODS.load(case.method).config.model_fields]
STEPS = 16


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("resumed"))


def saved(fitted: Fitted, folder: Path) -> dict[str, str]:
    fitted.classifier.save(folder)
    return {str(file.relative_to(folder)): hash_file(file) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("case", TRAINED, ids=lambda case: case.name)
def test_interrupted_and_resumed(case: Case, bench: Bench, tmp_path: Path) -> None:
    whole = bench.fitted(case)
    assert whole.facts["steps"] == STEPS
    step = random.Random(case.name).randrange(2, STEPS)
    events: list[dict[str, object]] = []
    setting = Setting(bench.task, LABELS, log=events.append)
    fit, options = METHODS.load(case.method).fit, bench.config(case)
    for progress in (Until(step), SilentProgress()):
        checkpoints = Checkpoints(tmp_path / "checkpoint", 0.0, events.append)
        attempt = replace(setting, progress=progress, checkpoints=checkpoints)
        if isinstance(progress, Until):
            with pytest.raises(Interrupted):
                fit(TRAIN, VALIDATION, options, attempt)
        else:
            resumed = fit(TRAIN, VALIDATION, options, attempt)
    assert resumed.facts["resumed_after_steps"] == [step - 1]
    assert saved(resumed, tmp_path / "resumed") == saved(whole, tmp_path / "whole")
    for name in ("steps", "rows_seen", "train_tokens", "best_step", "best_validation_macro_f1", "stopped"):
        assert resumed.facts[name] == whole.facts[name]
    assert resumed.validation_logits is not None
    np.testing.assert_array_equal(resumed.validation_logits, whole.validation_logits)
