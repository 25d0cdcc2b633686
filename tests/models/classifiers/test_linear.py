from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from adjudge.core.errors import DataError
from adjudge.models.classifiers.linear import Linear, probabilities

LINEAR = Linear(np.array([[1, 0], [0, 2], [-1, 1]], dtype=np.float32), np.array([0, 1, 0.5], dtype=np.float32))


def test_logits_are_weights_times_features_plus_bias_dense_or_sparse() -> None:
    features = np.array([[1, 2], [0, 0]], dtype=np.float32)
    expected = [[1, 5, 1.5], [0, 1, 0.5]]
    np.testing.assert_array_equal(LINEAR.logits(features), np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(LINEAR.logits(sparse.csr_matrix(features)), np.array(expected, dtype=np.float32))
    assert LINEAR.size == 9


def test_arrays_of_another_shape_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"model: the array 'weights' must have shape \(3, 4\), found \(3, 2\)"):
        Linear.from_arrays(LINEAR.arrays(), 3, 4, "model")
    with pytest.raises(DataError, match=r"'bias'.*found None"):
        Linear.from_arrays({"weights": LINEAR.weights}, 3, 2, "model")


def test_probabilities_of_hand_worked_logits() -> None:
    logits = np.log(np.array([[1, 3], [9, 1]], dtype=np.float32))
    np.testing.assert_allclose(probabilities(logits), [[0.25, 0.75], [0.9, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(probabilities(logits, temperature=2.0)[1], [0.75, 0.25], rtol=1e-6)  # 3 : 1


def test_great_logits_stay_finite() -> None:
    assert probabilities(np.array([[1e30, -1e30, 0]], dtype=np.float32)).tolist() == [[1, 0, 0]]
