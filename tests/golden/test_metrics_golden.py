"""Every metric against scikit-learn on random problems, and against numbers worked by hand."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from adjudge.evaluate.metrics import NO_ANSWER, PROBABILITY_FLOOR, accuracy, classification_metrics, macro_f1

PROBLEMS = [
    pytest.param(400, 2, 1.0, 0, id="binary"),
    pytest.param(500, 6, 1.0, 1, id="six-classes"),
    pytest.param(300, 6, 0.15, 2, id="imbalanced"),
    pytest.param(40, 20, 0.2, 3, id="absent-classes"),
    pytest.param(1000, 20, 1.0, 4, id="twenty-classes"),
    pytest.param(1, 3, 1.0, 5, id="one-row"),
]


def problem(n, n_classes, evenness, seed):
    """Gold labels of a random imbalance, and probabilities that lean towards them."""
    generator = np.random.default_rng(seed)
    gold = generator.choice(n_classes, size=n, p=generator.dirichlet(np.full(n_classes, evenness)))
    probs = generator.dirichlet(np.full(n_classes, 0.5), size=n) + 1e-6
    probs[np.arange(n), gold] += generator.random(n)
    return gold, probs / probs.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "n_classes", "evenness", "seed"), PROBLEMS)
def test_metrics_equal_scikit_learn(n, n_classes, evenness, seed):
    gold, probs = problem(n, n_classes, evenness, seed)
    predicted = probs.argmax(axis=1)
    labels = [f"label {i}" for i in range(n_classes)]
    found = classification_metrics(gold, probs, labels)
    present = np.union1d(gold, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about classes without rows, which is the point here
        expected = {
            "accuracy": reference.accuracy_score(gold, predicted),
            "macro_f1": reference.f1_score(gold, predicted, labels=present, average="macro", zero_division=0),
            "weighted_f1": reference.f1_score(gold, predicted, average="weighted", zero_division=0),
            "balanced_accuracy": reference.balanced_accuracy_score(gold, predicted),
            "mcc": reference.matthews_corrcoef(gold, predicted),
            "log_loss": reference.log_loss(gold, probs, labels=range(n_classes)),
            "brier": reference.brier_score_loss(gold, probs, labels=range(n_classes), scale_by_half=False)
            if n_classes > 2
            else 2 * reference.brier_score_loss(gold, probs[:, 1], labels=[0, 1], pos_label=1),
        }
        per_class = reference.precision_recall_fscore_support(
            gold, predicted, labels=range(n_classes), zero_division=0
        )
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    for i, label in enumerate(labels):
        assert list(found["per_class"][label].values()) == pytest.approx([column[i] for column in per_class])
    assert found["confusion"] == reference.confusion_matrix(gold, predicted, labels=range(n_classes)).tolist()
    assert found["n"] == n


@pytest.mark.parametrize(("n", "n_classes", "evenness", "seed"), PROBLEMS[1:])
def test_top_k_equals_scikit_learn(n, n_classes, evenness, seed):
    gold, probs = problem(n, n_classes, evenness, seed)
    found = classification_metrics(gold, probs, [str(i) for i in range(n_classes)], top_k=range(1, n_classes + 1))
    for k in range(1, n_classes):
        expected = reference.top_k_accuracy_score(gold, probs, k=k, labels=range(n_classes))
        assert found["top_k"][str(k)] == pytest.approx(expected)
    assert found["top_k"][str(n_classes)] == 1.0


def test_macro_f1_equals_scikit_learn_where_answers_are_missing():
    generator = np.random.default_rng(7)
    gold = generator.integers(0, 4, 200)
    predicted = np.where(generator.random(200) < 0.2, NO_ANSWER, generator.integers(0, 4, 200))
    expected = reference.f1_score(gold, predicted, labels=range(4), average="macro")
    assert macro_f1(gold, predicted, 4) == pytest.approx(expected)
    probs = np.full((200, 4), 0.25)
    found = classification_metrics(gold, probs, list("abcd"), predicted=predicted)
    assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(gold, predicted))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))


def test_hand_worked_problem():
    # gold a a a b b c; answers a a b b b a. True positives 2, 2, 0; chosen 3, 3, 0; support 3, 2, 1.
    gold = np.array([0, 0, 0, 1, 1, 2])
    probs = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1], [0.0, 1.0, 0.0], [0.5, 0.3, 0.2]]
    )
    found = classification_metrics(gold, probs, ["a", "b", "c"], bins=5)
    assert found["confusion"] == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["macro_f1"] == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
    assert found["weighted_f1"] == pytest.approx((3 * 4 / 6 + 2 * 4 / 5) / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    # Gorodkin: (4 * 6 - (3 * 3 + 3 * 2)) / sqrt((36 - 18) * (36 - 14))
    assert found["mcc"] == pytest.approx(9 / math.sqrt(18 * 22))
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, [0.8, 0.6, 0.4, 0.7, 1.0, 0.2])) / 6)
    # Squared distances: .04+.01+.01, .16+.09+.01, .36+.25+.01, .04+.09+.01, 0, .25+.09+.64
    assert found["brier"] == pytest.approx((0.06 + 0.26 + 0.62 + 0.14 + 0.0 + 0.98) / 6)
    assert found["top_k"] == pytest.approx({"1": 4 / 6, "2": 5 / 6, "3": 1.0})
    # Bins (0.4, 0.6]: .6 right, .5 wrong, .5 wrong; (0.6, 0.8]: .8 right, .7 right; (0.8, 1]: 1.0 right.
    assert found["reliability"]["count"] == [0, 0, 3, 2, 1]
    assert found["reliability"]["confidence"] == [None, None, *map(pytest.approx, [1.6 / 3, 0.75, 1.0])]
    assert found["reliability"]["accuracy"] == [None, None, *map(pytest.approx, [1 / 3, 1.0, 1.0])]
    assert found["ece"] == pytest.approx((3 * (1.6 / 3 - 1 / 3) + 2 * 0.25 + 0) / 6)


def test_log_loss_of_a_probability_of_zero_equals_scikit_learn_on_float32():
    gold = np.array([0, 1])
    probs = np.array([[0.0, 1.0], [0.25, 0.75]], dtype=np.float32)
    found = classification_metrics(gold, probs, ["a", "b"])
    assert found["log_loss"] == pytest.approx(-(math.log(PROBABILITY_FLOOR) + math.log(0.75)) / 2)
    assert found["log_loss"] == pytest.approx(reference.log_loss(gold, probs), rel=1e-6)


def test_accuracy_of_one_row():
    assert accuracy(np.array([1]), np.array([1])) == 1.0
    assert accuracy(np.array([1]), np.array([0])) == 0.0
