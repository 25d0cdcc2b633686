"""scikit-learn's own checks of estimators, on texts.

They make matrices of numbers; `OnText` writes each row as a text, so that what they ask of a classifier is asked of
`TextClassifier`: cloning, unfitted errors, the same answers in any order and any subset of rows, labels of every kind,
targets that are no classes, parameters and data left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted, validate_data

from adjudge import TextClassifier

OF_MATRICES = {
    "check_array_api_input": "arrays of other libraries: texts are Python's",
    "check_complex_data": "complex numbers in X",
    "check_dtype_object": "matrices of objects",
    "check_estimator_sparse_array": "sparse matrices",
    "check_estimator_sparse_matrix": "sparse matrices",
    "check_estimator_sparse_tag": "sparse matrices",
    "check_estimators_dtypes": "the number formats of X",
    "check_estimators_nan_inf": "NaN and infinity in X; missing texts have tests of their own",
    "check_f_contiguous_array_estimator": "how a matrix lies in memory",
    "check_fit1d": "X of one dimension, which texts are",
    "check_fit2d_1feature": "a matrix of one column",
    "check_fit2d_predict1d": "X of one dimension, which texts are",
    "check_n_features_in": "columns of X",
    "check_n_features_in_after_fitting": "columns of X",
    "check_positive_only_tag_during_fit": "negative numbers in X",
    "check_readonly_memmap_input": "matrices in files",
}
"""Checks of how X is validated as a matrix: they would test `OnText` and not the classifier."""


def words(matrix: Any) -> list[str]:
    """A row of numbers as a text: a word for each column and half unit."""
    return [" ".join(f"c{column}b{np.floor(2 * value):.0f}" for column, value in enumerate(row)) for row in matrix]


class OnText(TextClassifier):
    """`TextClassifier` over matrices of numbers."""

    def fit(self, X: Any, y: Any, validation: Any = None) -> OnText:
        super().fit(words(validate_data(self, X)), y, validation)
        return self

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(self._written(X))

    def predict(self, X: Any) -> Any:
        return super().predict(self._written(X))

    def _written(self, X: Any) -> Any:
        check_is_fitted(self)
        if isinstance(X, list) and X and isinstance(X[0], str):  # `predict` asks `predict_proba`
            return X
        return words(validate_data(self, X, reset=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = False
        tags.input_tags.two_d_array = True
        return tags


def estimator() -> OnText:
    return OnText(options={"min_df": 1, "char_ngrams": None, "c": 1.0})


CHECKS = [(each, check) for each, check in estimator_checks_generator(estimator())]


def test_the_checks_that_are_left_out_are_there_and_many_are_left() -> None:
    names = [check.func.__name__ for _, check in CHECKS]
    assert set(OF_MATRICES) <= set(names)
    assert len([name for name in names if name not in OF_MATRICES]) >= 35


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("each", "check"),
    [
        pytest.param(each, check, id=f"{check.func.__name__}-{number}")
        for number, (each, check) in enumerate(CHECKS)
        if check.func.__name__ not in OF_MATRICES
    ],
)
def test_scikit_learns_checks(each: OnText, check: Any) -> None:
    check(each)
