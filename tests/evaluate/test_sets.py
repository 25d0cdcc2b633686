"""Multi-label metrics against scikit-learn, and sets as codes through the paired tests."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as reference
from sklearn.metrics import f1_score

from adjudge.core.errors import DataError
from adjudge.core.problem import Problem
from adjudge.evaluate.arrays import read_arrays, with_shared_sets
from adjudge.evaluate.metrics import PROBABILITY_FLOOR
from adjudge.evaluate.paired import paired_difference
from adjudge.evaluate.predictions import evaluate_table
from adjudge.evaluate.sets import set_intervals, set_macro_f1, set_metrics

SEVERAL = Problem(kind="multi_label")
LABELS = ("a", "b", "c")


def answers(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = generator.random((n, 3)) < [0.5, 0.3, 0.1]
    probs = np.clip(generator.random((n, 3)) * 0.6 + 0.3 * gold, 0, 1).astype(np.float32)
    return gold, probs > 0.5, probs


def table(gold: np.ndarray, predicted: np.ndarray, probs: np.ndarray) -> pl.DataFrame:
    cells = [[SEVERAL.join(LABELS[i] for i in np.flatnonzero(row)) for row in part] for part in (gold, predicted)]
    columns = {
        "row_id": [f"r{i}" for i in range(len(gold))],
        "gold": cells[0],
        "predicted": cells[1],
        "parse_status": ["scored"] * len(gold),
        "n_chars": list(range(len(gold))),
        "truncated": [False] * len(gold),
    }
    columns |= {f"prob_{label}": probs[:, i] for i, label in enumerate(LABELS)}
    columns |= {f"logit_{label}": probs[:, i] for i, label in enumerate(LABELS)}
    return pl.DataFrame(columns)


def test_every_metric_is_scikit_learns() -> None:
    gold, predicted, probs = answers()
    found = set_metrics(gold, predicted, probs, LABELS)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert found["hamming_loss"] == pytest.approx(reference.hamming_loss(gold, predicted))
    for average in ("micro", "macro", "weighted"):
        assert found[f"{average}_f1"] == pytest.approx(reference.f1_score(gold, predicted, average=average))
    assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(gold.ravel(), predicted.ravel()))
    losses = [
        reference.log_loss(gold[:, i], np.clip(probs[:, i].astype(float), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
        for i in range(3)
    ]
    assert found["log_loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    briers = [reference.brier_score_loss(gold[:, i], probs[:, i]) for i in range(3)]
    assert found["brier"] == pytest.approx(np.mean(briers), rel=1e-6)
    precision, recall, f1, support = reference.precision_recall_fscore_support(gold, predicted, zero_division=0)
    for i, label in enumerate(LABELS):
        one = found["per_class"][label]
        expected = (precision[i], recall[i], f1[i], support[i], losses[i], briers[i])
        assert tuple(one.values()) == pytest.approx(expected, rel=1e-6)


def test_nothing_held_and_nothing_given_is_right_and_has_no_f1() -> None:
    empty = np.zeros((4, 3), dtype=bool)
    found = set_metrics(empty, empty, np.zeros((4, 3)), LABELS)
    assert (found["accuracy"], found["macro_f1"], found["micro_f1"], found["mcc"]) == (1.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="at least 1"):
        set_metrics(empty[:0], empty[:0], np.zeros((0, 3)), LABELS)


def test_intervals_are_those_of_drawing_rows() -> None:
    gold, predicted, probs = answers()
    read = read_arrays(table(gold, predicted, probs), LABELS, SEVERAL)
    found = set_intervals(read.gold, read.predicted, read.sets, resamples=4000)
    generator = np.random.default_rng(1)
    draws = [generator.integers(0, len(gold), len(gold)) for _ in range(4000)]
    micro = [f1_score(gold[rows], predicted[rows], average="micro") for rows in draws[:1000]]
    assert found["micro_f1"] == pytest.approx(tuple(np.quantile(micro, [0.025, 0.975])), abs=0.02)
    wrong = np.quantile([(gold[rows] != predicted[rows]).mean() for rows in draws], [0.025, 0.975])
    assert found["hamming_loss"] == pytest.approx(tuple(wrong), abs=0.01)


def test_a_table_is_read_as_sets_and_evaluated() -> None:
    gold, predicted, probs = answers()
    read = read_arrays(table(gold, predicted, probs), LABELS, SEVERAL)
    np.testing.assert_array_equal(read.sets[read.gold], gold)
    np.testing.assert_array_equal(read.sets[read.predicted], predicted)
    found = evaluate_table(table(gold, predicted, probs), LABELS, problem=SEVERAL)
    assert found["macro_f1"] == pytest.approx(reference.f1_score(gold, predicted, average="macro"))
    assert set(found["intervals"]) == {"accuracy", "macro_f1", "micro_f1", "hamming_loss"}
    first = found["slices"]["n_chars"]["0–49"]
    assert first["accuracy"] == pytest.approx(reference.accuracy_score(gold[:50], predicted[:50]))
    assert first["macro_f1"] == pytest.approx(reference.f1_score(gold[:50], predicted[:50], average="macro"))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("gold", "a|d", "'d' is not in the label set"), ("predicted", None, "no answer"), ("prob_a", 1.5, "0 to 1")],
)
def test_a_table_that_holds_no_sets_is_refused_with_its_row(column: str, value: object, said: str) -> None:
    rows = table(*answers(5)).with_row_index("at")
    broken = rows.with_columns(pl.when(pl.col("at") == 2).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))
    with pytest.raises(DataError, match=f"'r2'.*{said}"):
        read_arrays(broken, LABELS, SEVERAL)


def test_runs_share_their_codes() -> None:
    tables = [table(*answers(50, seed)) for seed in (0, 1)]
    first, second = with_shared_sets([read_arrays(one, LABELS, SEVERAL) for one in tables])
    assert first.sets is second.sets
    for read, seed in ((first, 0), (second, 1)):
        np.testing.assert_array_equal(read.sets[read.gold], answers(50, seed)[0])


def test_paired_differences_of_sets_are_those_of_the_metrics() -> None:
    gold, better, _ = answers()
    worse = better & (np.random.default_rng(3).random(better.shape) < 0.7)
    sets, place = np.unique(np.concatenate([gold, better, worse]), axis=0, return_inverse=True)
    codes = place.ravel().reshape(3, -1)
    for metric, score in (("accuracy", reference.accuracy_score), ("macro_f1", set_macro_f1)):
        found = paired_difference(*codes, sets, metric=metric)
        assert found.difference == pytest.approx(score(gold, better) - score(gold, worse))
        assert found.low < found.difference < found.high


def test_sets_of_one_label_are_compared_as_labels_are() -> None:
    generator = np.random.default_rng(0)
    gold, one, other = generator.integers(0, 3, (3, 100))
    for metric in ("accuracy", "macro_f1"):
        as_labels = paired_difference(gold, one, other, 3, metric=metric)
        assert paired_difference(gold, one, other, np.eye(3, dtype=bool), metric=metric) == as_labels
