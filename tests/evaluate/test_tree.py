"""Metrics of paths against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adjudge.core.problem import Problem
from adjudge.evaluate.metrics import NO_ANSWER
from adjudge.evaluate.tree import tree_metrics

TREE = Problem(kind="hierarchical")
LABELS = ("a > x", "a > y", "b > x > 1", "b > x > 2", "c")


def test_paths_are_compared_as_sets_of_nodes() -> None:
    gold = np.array([0, 2, 4, 3])
    predicted = np.array([1, 3, 0, 3])
    # Shared nodes: {a}; {b, b > x}; none; all three. Given: 2 + 3 + 2 + 3; held: 2 + 3 + 1 + 3.
    found = tree_metrics(gold, predicted, LABELS, TREE)
    shared = 1 + 2 + 0 + 3
    assert found["hierarchical"]["precision"] == pytest.approx(shared / 10)
    assert found["hierarchical"]["recall"] == pytest.approx(shared / 9)
    assert found["hierarchical"]["f1"] == pytest.approx(2 * shared / 19)
    assert [level["accuracy"] for level in found["levels"]] == [0.75, 0.5, 0.25]
    assert [level["nodes"] for level in found["levels"]] == [3, 4, 5]


def test_macro_f1_of_a_level_is_that_of_its_nodes() -> None:
    generator = np.random.default_rng(0)
    gold, predicted = generator.integers(0, 5, (2, 200))
    top = np.array([0, 0, 1, 1, 2])
    found = tree_metrics(gold, predicted, LABELS, TREE)["levels"]
    assert found[0]["macro_f1"] == pytest.approx(f1_score(top[gold], top[predicted], average="macro"))
    assert found[2]["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    low, high = found[0]["intervals"]["macro_f1"]
    assert low < found[0]["macro_f1"] < high


def test_a_row_without_an_answer_shares_nothing_and_gives_nothing() -> None:
    found = tree_metrics(np.array([0, 4]), np.array([0, NO_ANSWER]), LABELS, TREE)
    assert found["hierarchical"] == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8})
    assert [level["accuracy"] for level in found["levels"]] == [0.5, 0.5, 0.5]
