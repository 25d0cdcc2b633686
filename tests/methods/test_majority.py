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
