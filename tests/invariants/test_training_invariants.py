"""What must hold of every trained network, whatever its architecture."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from adjudge.core.config import validate
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Setting
from adjudge.models.classifiers.neural import NeuralClassifier
from tests.tiny_models import FAMILIES, tiny_model

LABELS = ("ดีมาก", "很好", "плохо 🎉")
TEXTS = ["ok", "", "a longer text, and then </s> some [SEP] more of it", "很" * 20, "ok", "🎉 " * 9]
ROWS = Split("train", TEXTS * 2, [*LABELS, *LABELS] * 2, [str(i) for i in range(12)])
CASES = [
    (name, head) for name, family in FAMILIES.items() for head in (("label", "score") if family.causal else ("score",))
]


@pytest.mark.parametrize(("architecture", "head"), CASES)
def test_trained_saved_and_loaded_answers_alike_alone_and_in_company(
    architecture: str, head: str, tmp_path: Path
) -> None:
    method = METHODS.load("lora")
    given = {
        "model": str(tiny_model(architecture, tmp_path / architecture)),
        "rank": 2,
        "targets": "attention",
        "dropout": 0.1,
        "max_tokens": 400,
        "precision": "float32",
        "head": {"kind": head},
        "training": {"epochs": 1.0, "batch_size": 5, "learning_rate": 0.01},
    }
    random.seed(1)
    torch.manual_seed(1)
    states = random.getstate(), torch.get_rng_state()
    fitted = method.fit(ROWS, ROWS, validate(method.config, given, "case"), Setting(Task(name="t"), LABELS))
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert (fitted.facts["engine"], fitted.facts["engine_reason"]) == ("packed", "")
    together = fitted.classifier.predict_logits(TEXTS)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together[0], together[4], atol=1e-5)  # the same text twice
    alone = np.concatenate([fitted.classifier.predict_logits([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    fitted.classifier.save(tmp_path / "saved")
    assert torch.equal(torch.get_rng_state(), states[1])
    loaded = NeuralClassifier.load(tmp_path / "saved")
    assert torch.equal(torch.get_rng_state(), states[1])
    np.testing.assert_array_equal(loaded.predict_logits(TEXTS), together)
