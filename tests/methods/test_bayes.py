"""Naive Bayes as a linear layer, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.naive_bayes import MultinomialNB

from adjudge.methods.bayes import SMOOTHING, fit_naive_bayes
from adjudge.methods.logistic import FeatureRows
from adjudge.models.classifiers.linear import probabilities


def test_it_is_scikit_learns_multinomial_naive_bayes() -> None:
    generator = np.random.default_rng(0)
    features = sparse.random(60, 25, density=0.3, format="csr", rng=generator)
    targets = generator.integers(4, size=60)
    found = probabilities(fit_naive_bayes(FeatureRows(features, targets), 4).logits(features))
    expected = MultinomialNB(alpha=SMOOTHING).fit(features, targets).predict_proba(features)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_label_without_a_row_is_possible_and_never_likely() -> None:
    features = sparse.csr_matrix(np.eye(4))
    linear = fit_naive_bayes(FeatureRows(features, np.array([0, 0, 1, 1])), 3)
    found = probabilities(linear.logits(features))
    assert np.isfinite(found).all()
    assert (found[:, 2] < found[:, :2].max(axis=1)).all()
    assert linear.bias[2] == pytest.approx(linear.bias[0] - np.log(2 * 5))
