"""Probabilities of texts alone against those among others: measured, bounded, and near ties counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adjudge.core.decision import PLAIN
from adjudge.core.errors import WorkError
from adjudge.core.protocols import BatchTolerance
from adjudge.core.runs import EvaluatedSplit, Predicted, Run, prediction_table
from adjudge.core.types import Reply, Split
from adjudge.experiment.neighbours import batch_facts

LABELS = ("neg", "pos")
TOLERANCE = BatchTolerance(stated=0.01, most=0.1)


class Stub:
    """Answers by a text's length; texts together get `shift` more of the first label."""

    decision = PLAIN
    labels = LABELS

    def __init__(self, shift: float = 0.0, tolerance: BatchTolerance | None = TOLERANCE, writes: bool = False) -> None:
        self.shift, self.batch_tolerance, self.writes = shift, tolerance, writes

    def predict_proba(self, texts: Sequence[str], progress: Any = None) -> npt.NDArray[np.float32]:
        first = np.array([len(text) / 100 for text in texts]) + self.shift * (len(texts) > 1)
        return np.stack([first, 1 - first], axis=1).astype(np.float32)

    def replies(self, texts: Sequence[str], progress: Any = None) -> list[Reply] | None:
        return [Reply("pos", "pos") for _ in texts] if self.writes else None


def split_of(name: str, lengths: Sequence[int]) -> Split:
    texts = ["x" * length for length in lengths]
    return Split(
        name=name, texts=texts, labels=["pos"] * len(texts), row_ids=[f"{name}{i}" for i in range(len(texts))]
    )


def facts_of(stub: Stub, folder: Path) -> dict[str, Any]:
    """Rows whose first label has 0.05 to 0.95, in steps of 0.05; two of the test rows are near a tie."""
    lengths: dict[EvaluatedSplit, list[int]] = {"validation": list(range(5, 100, 5)), "test": [20, 49, 50, 52, 90]}
    splits: dict[EvaluatedSplit, Split] = {name: split_of(name, of) for name, of in lengths.items()}
    run = Run(folder)
    for name, split in splits.items():
        probs, none = stub.predict_proba(split.texts), np.zeros(len(split), dtype=np.int64)
        (folder / "predictions").mkdir(exist_ok=True, parents=True)
        run.write_predictions(name, prediction_table(split, Predicted(LABELS, probs, probs, none, none.astype(bool))))
    return batch_facts(stub, run, splits)  # type: ignore[arg-type]


def test_texts_that_answer_the_same_alone_hold_what_was_stated(tmp_path: Path) -> None:
    found = facts_of(Stub(), tmp_path)["batch_invariance"]
    assert found == {
        "tolerance": 0.01,
        "largest_difference": 0.0,
        "rows": 16,
        # 0.50 of validation; 0.49 and 0.50 of test, whose leads of 0.02 and 0 a shift of 0.01 takes away.
        "near_ties": {"validation": 1, "test": 2},
    }


def test_a_difference_that_rounding_explains_widens_the_runs_tolerance(tmp_path: Path) -> None:
    found = facts_of(Stub(shift=0.03), tmp_path)["batch_invariance"]
    assert found["tolerance"] == 0.1
    assert found["largest_difference"] == pytest.approx(0.03, abs=1e-6)
    assert found["near_ties"]["validation"] == 4  # 0.43, 0.48, 0.53 and 0.58


def test_a_difference_beyond_rounding_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"differ by 0\.2 .* on 16 validation texts, and rounding explains 0\.1; set"):
        facts_of(Stub(shift=0.2), tmp_path)


def test_a_classifier_that_computes_texts_one_by_one_says_nothing(tmp_path: Path) -> None:
    assert facts_of(Stub(shift=0.5, tolerance=None), tmp_path) == {}


def test_ties_are_not_counted_where_a_reply_decides(tmp_path: Path) -> None:
    assert "near_ties" not in facts_of(Stub(writes=True), tmp_path)["batch_invariance"]
