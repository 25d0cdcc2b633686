from __future__ import annotations

import numpy as np
import pytest

from adjudge.core.errors import DataError
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import Setting
from adjudge.methods.majority import METHOD, MajorityConfig


def rows(labels: list[str | None]) -> Split:
    ids = [str(i) for i in range(len(labels))]
    return Split("train", ["text"] * len(labels), labels, ids, row_numbers=range(1, len(labels) + 1), source="a.csv")


def test_shares_are_smoothed_by_half_a_row_so_log_loss_is_finite() -> None:
    fitted = METHOD.fit(
        rows(["b", "a", "b", "b"]), rows([]), MajorityConfig(), Setting(Task(name="t"), ("a", "b", "never"))
    )
    np.testing.assert_allclose(fitted.classifier.predict_proba(["x"])[0], np.array([1.5, 3.5, 0.5]) / 5.5, rtol=1e-6)
    assert fitted.classifier.predict(["x"]) == ["b"]
    assert fitted.labels_used == {"train": 4, "validation": 0}


def test_missing_and_unknown_labels_are_named_with_their_rows() -> None:
    with pytest.raises(DataError) as caught:
        METHOD.fit(rows(["good", None, "goood"]), rows([]), MajorityConfig(), Setting(Task(name="t"), ("good", "bad")))
    assert caught.value.problems == (
        "a.csv, row 2: the label is missing",
        "a.csv, row 3: unknown label 'goood'; allowed: bad, good; did you mean 'good'?",
    )


def test_of_several_labels_each_has_the_odds_of_its_rows() -> None:
    train = Split("train", ["a", "b", "c"], ["x|y", "x", "(none)"], ["1", "2", "3"])
    setting = Setting(Task(name="t", problem="multi_label"), ("x", "y", "z"))
    fitted = METHOD.fit(train, train, MajorityConfig(), setting)
    shares = np.array([2.5, 1.5, 0.5]) / 4
    np.testing.assert_allclose(fitted.classifier.predict_proba(["new"])[0], shares, rtol=1e-6)
    assert fitted.classifier.predict(["new", "other"]) == ["x", "x"]


def test_a_label_outside_the_set_is_named_with_its_row() -> None:
    train = Split("train", ["a", "b"], ["x", "x|nope"], ["1", "2"], source="a.csv")
    with pytest.raises(DataError, match=r"a\.csv, row 2: unknown label 'nope'"):
        METHOD.fit(train, train, MajorityConfig(), Setting(Task(name="t", problem="multi_label"), ("x", "y")))
