import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact

from adjudge.evaluate.shift import label_shift, score_shift, text_shift

WORDS = ["the", "train", "was", "late", "again", "but", "nobody", "seemed", "to", "mind", "at", "all", "today"]


def texts(n, seed, extra=()):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice([*WORDS, *extra], size=12)) for _ in range(n)]


def test_scores_are_tested_by_fisher():
    assert score_shift((90, 70), (100, 100)) == pytest.approx(fisher_exact([[90, 10], [70, 30]])[1])
    assert score_shift((90, 90), (100, 100)) == 1.0


def test_shares_of_labels_are_tested_with_rare_ones_taken_together():
    validation, test = np.array([50, 50, 2, 1, 3]), np.array([90, 10, 1, 2, 3])
    expected = chi2_contingency([[50, 50, 6], [90, 10, 6]], correction=False).pvalue
    assert label_shift(validation, test) == pytest.approx(expected)
    assert label_shift(np.array([3, 1]), np.array([1, 3])) == 1.0
    assert label_shift(np.array([100, 0]), np.array([80, 0])) == 1.0


def test_texts_of_another_kind_are_told_apart():
    shift = text_shift(texts(200, 1), texts(200, 2, extra=("invoice", "payment", "overdue")))
    assert shift is not None
    assert shift.auc > 0.8
    assert shift.p_value < 1e-6


def test_texts_of_one_kind_are_called_different_no_more_often_than_promised():
    p_values = [text_shift(texts(40, 2 * i), texts(40, 2 * i + 1)).p_value for i in range(60)]
    assert sum(p <= 0.05 for p in p_values) <= 8  # P(X >= 9) = 0.5% for 60 tests at 5%
    assert min(p_values) > 0.0001


def test_texts_without_spaces_are_read_too():
    first = ["".join(np.random.default_rng(i).choice(list("的一是在不了有和人这"), 20)) for i in range(100)]
    second = ["".join(np.random.default_rng(1000 + i).choice(list("的一是在不了罪犯法院"), 20)) for i in range(100)]
    assert text_shift(first, second).p_value < 1e-6


def test_few_texts_tell_nothing():
    assert text_shift(texts(19, 1), texts(500, 2)) is None


def test_the_test_is_reproducible():
    pair = texts(100, 1), texts(100, 2)
    assert text_shift(*pair, seed=3) == text_shift(*pair, seed=3)
