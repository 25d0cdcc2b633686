from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from adjudge.core.errors import DataError
from adjudge.core.task import Task
from adjudge.methods import Setting
from adjudge.methods.logistic import FeatureRows, choose_c, fit_logistic, validation_macro_f1


def problem(n_classes: int, seed: int = 0) -> FeatureRows:
    shares = [0.6] + [0.4 / (n_classes - 1)] * (n_classes - 1)
    features, targets = make_classification(
        300, 10, n_informative=6, n_classes=n_classes, flip_y=0.1, weights=shares, random_state=seed
    )
    return FeatureRows(features.astype(np.float32), targets.astype(np.int64))


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_are_those_of_scikit_learn(n_classes: int, class_weight: Any) -> None:
    rows = problem(n_classes)
    reference = LogisticRegression(C=0.7, class_weight=class_weight, tol=1e-8, max_iter=5000)
    reference.fit(rows.features.astype(np.float64), rows.targets)
    linear = fit_logistic(rows, n_classes, 0.7, class_weight, tol=1e-6)
    found = softmax(linear.logits(rows.features), axis=1)
    np.testing.assert_allclose(found, reference.predict_proba(rows.features), atol=2e-3)


def test_scores_of_the_labels_sum_to_zero() -> None:
    rows = problem(4)
    assert np.abs(fit_logistic(rows, 4, 1.0).logits(rows.features).sum(axis=1)).max() < 1e-3


@pytest.mark.parametrize("present", [[1, 3], [0, 2, 4], [2]])
def test_a_label_without_rows_is_never_chosen_and_stays_possible(present: list[int]) -> None:
    rows = (
        problem(len(present)) if len(present) > 1 else FeatureRows(problem(2).features, np.zeros(300, dtype=np.int64))
    )
    targets = np.array(present)[rows.targets]
    linear = fit_logistic(FeatureRows(rows.features, targets), 5, 1.0)
    probs = softmax(linear.logits(rows.features), axis=1)
    absent = sorted(set(range(5)) - set(present))
    assert set(probs.argmax(axis=1)) <= set(present)
    assert probs[:, absent].min() > 0
    assert probs[:, absent].max() < 1 / 300


def test_c_with_the_best_validation_macro_f1_is_kept_and_the_smallest_of_equals() -> None:
    rows, validation = problem(3), FeatureRows(problem(3).features[:150], problem(3).targets[:150])
    events: list[dict[str, Any]] = []
    setting = Setting(Task(name="t"), ("a", "b", "c"), log=events.append)
    chosen = choose_c(rows, validation, (10.0, 1e-4, 0.1), None, setting)
    best = max(chosen.macro_f1.values())
    assert list(chosen.macro_f1) == [1e-4, 0.1, 10.0]
    assert chosen.c == min(c for c, score in chosen.macro_f1.items() if score == best)
    np.testing.assert_array_equal(chosen.linear.weights, fit_logistic(rows, 3, chosen.c).weights)
    assert len(events) == 3
    assert choose_c(rows, rows, (5.0, 5.0), None, setting).c == 5.0


def test_budget_stops_the_search_after_the_first_fit() -> None:
    chosen = choose_c(
        problem(2), problem(2, 1), (1.0, 2.0, 3.0), None, Setting(Task(name="t"), ("a", "b"), max_seconds=0.0)
    )
    assert list(chosen.macro_f1) == [1.0]


def test_without_validation_rows_c_has_to_be_given() -> None:
    empty = FeatureRows(np.zeros((0, 10), dtype=np.float32), np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="give the method's option `c`"):
        choose_c(problem(2), empty, (1.0,), None, Setting(Task(name="t"), ("a", "b")))


def test_one_regression_for_each_label_is_scikit_learns():
    features, _ = make_classification(200, 8, n_informative=6, random_state=0)
    sets = np.random.default_rng(0).random((200, 3)) < 1 / (1 + np.exp(-features[:, :3]))
    linear = fit_logistic(FeatureRows(features, sets), 3, 1.0, "balanced", tol=1e-8)
    for label in range(3):
        model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-8, max_iter=1000).fit(
            features, sets[:, label]
        )
        np.testing.assert_allclose(linear.logits(features)[:, label], model.decision_function(features), atol=1e-4)


def test_a_label_of_no_row_or_of_every_row_has_a_finite_score():
    sets = np.column_stack([np.zeros(6), np.ones(6), [1, 0, 1, 0, 1, 0]]).astype(bool)
    linear = fit_logistic(FeatureRows(np.eye(6), sets), 3, 1.0)
    np.testing.assert_allclose(linear.logits(np.eye(6))[:, :2], np.tile([-np.log(7), np.log(7)], (6, 1)), rtol=1e-6)


def test_c_is_chosen_by_macro_f1_at_the_best_thresholds():
    targets = np.array([[True, False], [False, True], [False, False]])
    logits = np.array([[-1.0, -3.0], [-2.0, -2.0], [-2.5, -4.0]], dtype=np.float32)
    assert validation_macro_f1(logits, targets) == 1.0
    assert validation_macro_f1(logits, np.array([0, 1, 0])) == pytest.approx(
        f1_score([0, 1, 0], [0, 0, 0], average="macro")
    )
