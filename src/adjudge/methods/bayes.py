"""Naive Bayes on weighted n-grams as a linear layer: one pass over the rows, however many labels there are."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from adjudge.methods.logistic import FeatureRows
from adjudge.models.classifiers.linear import Linear

SMOOTHING = 0.1


def fit_naive_bayes(rows: FeatureRows, n_labels: int) -> Linear:
    """Fit multinomial naive Bayes to weights that are at least 0, such as TF-IDF's.

    The score of a label is the log of its share of the rows plus, for each feature, the feature's weight times the log
    of its share of the label's weights; every feature of every label counts `SMOOTHING` more than it has.

    Args:
        rows: features ``[N, F]``, sparse, and targets ``[N]``; at least one row.
        n_labels: C. A label without a row has a bias of ``-ln(N + 1)`` below one with a single row.

    Returns:
        weights ``[C, F]`` and bias ``[C]``, float32.
    """
    n_rows = rows.features.shape[0]
    member = sparse.csr_matrix((np.ones(n_rows), (rows.targets, np.arange(n_rows))), shape=(n_labels, n_rows))
    sums = (member @ rows.features).toarray() + SMOOTHING
    weights = np.log(sums / sums.sum(axis=1, keepdims=True))
    counts = np.bincount(rows.targets, minlength=n_labels)
    bias = np.log(np.maximum(counts, 1 / (n_rows + 1)) / n_rows)
    return Linear(weights.astype(np.float32), bias.astype(np.float32))
