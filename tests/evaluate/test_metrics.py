"""What metrics do at the edges. Their values are compared with scikit-learn in tests/golden."""

import json

import numpy as np
import pytest

from adjudge.evaluate.metrics import (
    NO_ANSWER,
    accuracy,
    classification_metrics,
    confusion_counts,
    first_bad_row,
    macro_f1,
    macro_f1_from_counts,
)

GOLD = np.array([0, 1, 2, 1])
PROBS = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])


def test_class_in_neither_gold_nor_predictions_is_left_out_of_macro_f1():
    gold, predicted = np.array([0, 0, 1]), np.array([0, 0, 1])
    assert macro_f1(gold, predicted, 2) == macro_f1(gold, predicted, 50) == 1.0


def test_class_predicted_but_never_gold_counts_as_zero_in_macro_f1():
    # F1: class 0 has 2 * 1 / (2 + 1), class 1 has 0, class 2 is in neither.
    assert macro_f1(np.array([0, 0]), np.array([0, 1]), 3) == pytest.approx((2 / 3 + 0) / 2)


def test_imbalance_does_not_hide_behind_accuracy():
    """Imbalanced classes: answering the majority looks good in accuracy and bad in macro-F1."""
    gold = np.array([0] * 95 + [1] * 5)
    assert accuracy(gold, np.zeros(100, dtype=np.int64)) == 0.95
    assert macro_f1(gold, np.zeros(100, dtype=np.int64), 2) == pytest.approx((190 / 195) / 2)


def test_result_is_valid_json_in_every_edge_case():
    for gold, probs in [
        (GOLD, PROBS),
        (GOLD[:1], PROBS[:1]),
        (np.array([1, 1]), PROBS[[1, 3]]),
        (np.array([0, 0]), np.array([[0.0, 1.0, 0.0]] * 2)),
    ]:
        found = classification_metrics(gold, probs, ["a", "b", "c"])
        assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_single_class_in_gold_has_no_correlation_and_full_recall():
    found = classification_metrics(np.array([1, 1]), PROBS[[1, 3]], ["a", "b", "c"])
    assert (found["mcc"], found["balanced_accuracy"], found["macro_f1"]) == (0.0, 1.0, 1.0)


def test_ties_go_to_the_first_label_in_the_answer_and_in_top_k_alike():
    probs = np.array([[0.5, 0.5], [0.5, 0.5]])
    found = classification_metrics(np.array([0, 1]), probs, ["a", "b"])
    assert found["accuracy"] == found["top_k"]["1"] == 0.5
    assert found["top_k"]["2"] == 1.0


def test_top_k_above_the_number_of_labels_is_left_out():
    found = classification_metrics(np.array([0]), np.array([[0.9, 0.1]]), ["a", "b"])
    assert list(found["top_k"]) == ["1", "2"]


def test_labels_in_any_order_give_the_same_numbers():
    order = [2, 0, 1]
    renumbered = np.argsort(order)[GOLD]
    a = classification_metrics(GOLD, PROBS, ["x", "y", "z"])
    b = classification_metrics(renumbered, PROBS[:, order], ["z", "x", "y"])
    for name in ("accuracy", "macro_f1", "weighted_f1", "mcc", "log_loss", "brier", "ece"):
        assert a[name] == pytest.approx(b[name])
    assert a["per_class"] == b["per_class"]


def test_unparsed_answer_is_wrong_and_never_replaced_by_a_guess():
    """Answers outside the label list: counted as wrong, no label put in their place, uniform probabilities."""
    probs = PROBS.copy()
    probs[3] = np.nan
    found = classification_metrics(GOLD, probs, list("abc"), predicted=np.array([0, 1, 0, NO_ANSWER]))
    assert found["accuracy"] == 0.5
    assert found["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert found["per_class"]["b"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert found["top_k"]["3"] == 0.75
    assert found["log_loss"] == pytest.approx(-np.log([0.6, 0.7, 0.2, 1 / 3]).mean())


def test_confidence_is_the_probability_of_what_was_answered_also_against_the_scores():
    # Answers at 0.6 (right), 0.7 (right), 0.2 (right), and none, which is 1/3 and wrong; four bins of one row each.
    found = classification_metrics(GOLD, PROBS, list("abc"), predicted=np.array([0, 1, 2, NO_ANSWER]), bins=20)
    assert found["ece"] == pytest.approx(((1 - 0.6) + (1 - 0.7) + (1 - 0.2) + 1 / 3) / 4)


def test_all_answers_missing_gives_zeros():
    found = classification_metrics(GOLD, PROBS, list("abc"), predicted=np.full(4, NO_ANSWER))
    assert found["accuracy"] == found["macro_f1"] == found["mcc"] == found["top_k"]["3"] == 0.0


def test_confusion_counts_keep_missing_answers_in_the_last_column():
    counts = confusion_counts(np.array([0, 1, 1]), np.array([0, NO_ANSWER, 0]), 2)
    assert counts.tolist() == [[1, 0, 0], [1, 0, 1]]


def test_macro_f1_from_counts_works_on_many_resamples_at_once():
    counts = np.array([[[3, 1], [0, 2]], [[4, 0], [2, 0]]])
    found = macro_f1_from_counts(counts.diagonal(axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1))
    assert found == pytest.approx([(6 / 7 + 4 / 5) / 2, (8 / 10 + 0) / 2])


def test_first_bad_row_sees_nan_negative_and_sums():
    good = [0.5, 0.5]
    assert first_bad_row(np.array([good, good])) is None
    assert first_bad_row(np.array([good, [np.nan, 1.0]])) == 1
    assert first_bad_row(np.array([[-0.1, 1.1], good])) == 0
    assert first_bad_row(np.array([good, good, [0.5, 0.6]])) == 2


@pytest.mark.parametrize(
    ("gold", "probs", "message"),
    [
        (np.zeros(0, dtype=np.int64), np.zeros((0, 3)), "at least 1"),
        (GOLD, PROBS[:, :2], r"expected probs \[4, 3\]"),
        (GOLD + 1, PROBS, "gold must lie in 0 to 2"),
        (GOLD, PROBS * 2, "row 0: probabilities must"),
    ],
)
def test_input_that_does_not_fit_is_refused(gold, probs, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(gold, probs, list("abc"))


def test_prediction_out_of_range_is_refused():
    with pytest.raises(ValueError, match="predicted must lie in -1 to 2, got 0 to 3"):
        macro_f1(np.array([0, 1]), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="two arrays"):
        accuracy(np.array([0, 1]), np.array([0]))
