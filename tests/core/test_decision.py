"""How scores become probabilities and answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from adjudge.core.decision import PLAIN, Decision
from adjudge.core.problem import Problem

LABELS = ("x", "y", "z")
LOGITS = np.random.default_rng(0).normal(0, 3, (40, 3)).astype(np.float32)
SEVERAL = Problem(kind="multi_label")


def test_one_label_is_the_most_probable_one():
    probs = PLAIN.probabilities(LOGITS, 1.7)
    np.testing.assert_allclose(probs, softmax(LOGITS.astype(float) / 1.7, axis=1), rtol=1e-6)
    assert PLAIN.answers(probs, LABELS) == [LABELS[i] for i in LOGITS.argmax(axis=1)]
    np.testing.assert_array_equal(PLAIN.confidence(probs, LABELS), probs.max(axis=1))
    assert PLAIN.to_json() == {}
    assert Decision.from_json({"problem_type": "single_label"}) == Decision.from_json({}) == PLAIN


def test_several_labels_are_those_that_reach_their_threshold():
    decision = Decision(SEVERAL, (0.2, 0.5, 0.9))
    probs = decision.probabilities(LOGITS, 2.0)
    np.testing.assert_allclose(probs, expit(LOGITS.astype(float) / 2), rtol=1e-6)
    edge = np.array([[0.2, 0.5, 0.9], [0.19, 0.49, 0.89], [1.0, 0.0, 1.0]])
    assert decision.answers(edge, LABELS) == ["x|y|z", "(none)", "x|z"]
    assert Decision(SEVERAL).answers(edge, LABELS) == ["y|z", "z", "x|z"]


def test_the_slack_is_what_every_probability_would_have_to_move_by_for_another_answer():
    probs = np.array([[0.5, 0.1, 0.4], [0.2, 0.7, 0.1]])
    np.testing.assert_allclose(PLAIN.slack(probs, LABELS), [0.05, 0.25])
    several = Decision(SEVERAL, (0.2, 0.5, 0.9))
    np.testing.assert_allclose(several.slack(probs, LABELS), [0.3, 0.0])
    np.testing.assert_allclose(Decision(SEVERAL).slack(probs, LABELS), [0.0, 0.2])
    tree = Decision(Problem(kind="hierarchical"))
    np.testing.assert_allclose(tree.slack(probs, ("a > x", "a > y", "b")), [0.1, 0.25])
    assert PLAIN.slack(probs[:0], LABELS).shape == (0,)


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "hierarchical"])
def test_an_answer_stays_while_probabilities_move_by_less_than_the_slack_and_may_change_beyond(kind):
    labels = ("a > x", "a > y", "b")
    decision = Decision(Problem(kind=kind))
    generator = np.random.default_rng(1)
    probs = generator.dirichlet(np.ones(3), 200)
    slack = decision.slack(probs, labels)
    answers, leaves = decision.answers(probs, labels), 2 if kind == "hierarchical" else 1
    for _ in range(50):
        moved = probs + generator.uniform(-1, 1, probs.shape) * slack[:, None] * 0.999 / leaves
        assert decision.answers(moved, labels) == answers
    changed = [decision.answers(probs + 3 * slack[:, None] * sign, labels) for sign in np.eye(3)] + [
        decision.answers(probs - 3 * slack[:, None] * sign, labels) for sign in np.eye(3)
    ]
    assert all(len(set(versions)) > 1 for versions in zip(answers, *changed, strict=True))


@pytest.mark.parametrize(("kind", "activation"), [("single_label", "softmax"), ("multi_label", "sigmoid")])
def test_logits_are_the_opposite_of_probabilities(kind, activation):
    decision = Decision(Problem(kind=kind))
    assert decision.activation == activation
    probs = decision.probabilities(LOGITS)
    np.testing.assert_allclose(decision.probabilities(decision.logits(probs)), probs, atol=1e-6)
    sure = np.array([[1.0, 0.0, 0.0]])
    assert np.isfinite(decision.logits(sure)).all()
    np.testing.assert_allclose(decision.probabilities(decision.logits(sure)), sure, atol=1e-6)


def test_the_confidence_of_a_set_is_that_every_decision_is_right():
    decision = Decision(SEVERAL, (0.5, 0.5, 0.5))
    np.testing.assert_allclose(decision.confidence(np.array([[0.9, 0.2, 0.6]]), LABELS), [0.9 * 0.8 * 0.6], rtol=1e-6)


def test_a_tree_is_descended():
    decision = Decision(Problem(kind="hierarchical"))
    probs = np.array([[0.3, 0.3, 0.4]], dtype=np.float32)
    assert decision.answers(probs, ("a > 1", "a > 2", "b")) == ["a > 1"]
    np.testing.assert_allclose(decision.confidence(probs, ("a > 1", "a > 2", "b")), [0.3], rtol=1e-6)


def test_what_is_saved_is_read_back():
    for decision in (Decision(SEVERAL, (0.25, 0.5)), Decision(Problem(kind="hierarchical", separator="/"))):
        assert Decision.from_json(decision.to_json()) == decision
