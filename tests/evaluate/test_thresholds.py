"""Thresholds against trying every cut."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from adjudge.evaluate.thresholds import FALLBACK, best_thresholds


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_no_cut_has_a_better_f1(seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    gold = generator.random((60, 4)) < [0.5, 0.2, 0.05, 0.9]
    probs = np.clip(generator.random((60, 4)) * 0.7 + 0.3 * gold, 0, 1)
    probs = probs.round(1) if ties else probs
    for label, threshold in enumerate(best_thresholds(probs, gold)):
        if not gold[:, label].any():
            assert threshold == FALLBACK
            continue
        found = f1_score(gold[:, label], probs[:, label] >= threshold)
        tried = [f1_score(gold[:, label], probs[:, label] >= cut) for cut in np.unique(probs[:, label])]
        assert found == pytest.approx(max(tried), abs=1e-12)


def test_a_label_without_a_positive_row_gets_one_half() -> None:
    assert best_thresholds(np.array([[0.9, 0.1], [0.2, 0.2]]), np.array([[True, False], [False, False]])) == (
        pytest.approx(0.55),
        0.5,
    )


def test_of_equally_good_cuts_the_nearest_to_one_half_is_taken() -> None:
    probs = np.array([[0.99], [0.5], [0.3], [0.1]])  # F1 is 2/3 at a cut after one row and after four
    gold = np.array([[True], [False], [False], [True]])
    assert best_thresholds(probs, gold) == (pytest.approx(0.745),)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        best_thresholds(np.zeros((2, 3)), np.zeros((3, 2), dtype=bool))
    with pytest.raises(ValueError, match="same shape"):
        best_thresholds(np.zeros(3), np.zeros(3, dtype=bool))


def test_a_label_whose_every_probability_is_0_is_given_to_all() -> None:
    assert best_thresholds(np.zeros((3, 1)), np.array([[True], [False], [True]])) == (0.0,)
