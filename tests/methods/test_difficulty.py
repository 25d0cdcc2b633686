"""Which rows a curriculum calls hard."""

from __future__ import annotations

import numpy as np

from adjudge.core.types import Encoded, Split
from adjudge.methods.difficulty import difficulty
from adjudge.methods.tfidf import out_of_fold
from adjudge.train.batches import EncodedRows

WORDS = ("good lovely fine", "bad awful poor")


def training_rows(n: int = 40) -> tuple[Split, EncodedRows]:
    """Two labels that words tell apart; the last row has the words of the other label."""
    targets = np.arange(n) % 2
    texts = [f"{WORDS[label]} {i}" for i, label in enumerate(targets)]
    texts[-1] = f"{WORDS[0]} {n - 1}"
    encoded = [Encoded(tuple(range(1, 2 + i % 5)), (7, 8), 1 + i % 5) for i in range(n)]
    return Split("train", texts, [str(t) for t in targets], [str(i) for i in range(n)]), EncodedRows(encoded, targets)


def test_without_a_curriculum_no_row_is_hard() -> None:
    assert difficulty("none", *training_rows(), 2) is None


def test_length_is_the_tokens_of_the_row() -> None:
    found = difficulty("length", *training_rows(), 2)
    assert found is not None
    assert found[:6].tolist() == [3, 4, 5, 6, 7, 3]


def test_loss_is_that_of_a_model_that_did_not_see_the_row() -> None:
    train, rows = training_rows()
    found = difficulty("loss", train, rows, 2)
    assert found is not None
    assert found.argmax() == len(rows) - 1
    probs = out_of_fold(train.texts, rows.targets, 2)
    np.testing.assert_allclose(found, -np.log(probs[np.arange(40), rows.targets]), rtol=1e-6)
    assert np.isfinite(found).all()
