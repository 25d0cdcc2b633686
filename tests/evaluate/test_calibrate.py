"""Calibrating a classifier in place: what is fitted, and on which gold labels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from adjudge.core.decision import Decision
from adjudge.core.problem import Problem
from adjudge.core.types import Split
from adjudge.evaluate.calibrate import calibrate, gold_indices, thresholds_of
from adjudge.evaluate.calibration import fit_temperature

LABELS = ("a", "b")


def split_of(labels: list[str]) -> Split:
    names = [f"r{i}" for i in range(len(labels))]
    return Split(name="validation", texts=names, labels=labels, row_ids=names)


def classifier(problem: Problem) -> SimpleNamespace:
    return SimpleNamespace(labels=LABELS, temperature=1.0, decision=Decision(problem))


def test_of_one_label_the_temperature_is_fitted_and_there_is_no_threshold() -> None:
    logits = np.array([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 0.0]], dtype=np.float32)
    one, split = classifier(Problem()), split_of(["a", "b", "a", "b"])
    calibrate(one, logits, split)  # type: ignore[arg-type]
    assert one.temperature == fit_temperature(logits, np.array([0, 1, 0, 1]))
    assert one.temperature > 1.5
    assert thresholds_of(one) == {}  # type: ignore[arg-type]


def test_of_sets_every_label_gets_a_threshold_by_its_own_rows() -> None:
    logits = np.array([[2.0, -2.0], [2.0, -1.0], [-2.0, -1.0], [-2.0, -3.0]], dtype=np.float32)
    several = classifier(Problem(kind="multi_label"))
    calibrate(several, logits, split_of(["a", "a|b", "b", ""]))  # type: ignore[arg-type]
    thresholds = thresholds_of(several)["thresholds"]  # type: ignore[arg-type]
    assert list(thresholds) == ["a", "b"]
    probs = several.decision.probabilities(logits, several.temperature)
    assert ((probs[:, 1] >= thresholds["b"]) == [False, True, True, False]).all()
    assert thresholds["b"] < 0.5


def test_gold_indices_are_positions_in_the_closed_set() -> None:
    assert gold_indices(split_of(["b", "a", "b"]), LABELS).tolist() == [1, 0, 1]
    with pytest.raises(KeyError):
        gold_indices(split_of(["c"]), LABELS)
