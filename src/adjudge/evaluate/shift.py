"""Whether validation and test are of one kind: tests on scores, on labels and on the texts themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2_contingency, fisher_exact, mannwhitneyu

from adjudge.core.seeds import stream_generator
from adjudge.core.types import IntArray

MOST_TEXTS = 2000
"""Texts of each split that `text_shift` reads; more make it no wiser about a shift that matters."""

MOST_CHARACTERS = 2000
_EXPECTED = 5


@dataclass(frozen=True)
class TextShift:
    """How well a classifier that never saw the rows tells the two splits apart.

    Attributes:
        auc: area under the ROC curve on rows that it did not see; 0.5 where it cannot.
        p_value: one-sided, of no better than chance (Mann and Whitney 1947).
    """

    auc: float
    p_value: float


def score_shift(right: tuple[int, int], rows: tuple[int, int]) -> float:
    """Fisher's exact two-sided p-value of equal accuracies on two sets of rows.

    Args:
        right: rows answered rightly, of validation and of test.
        rows: all rows of each, at least 1.
    """
    table = [[right[0], rows[0] - right[0]], [right[1], rows[1] - right[1]]]
    return float(fisher_exact(table)[1])


def label_shift(validation: IntArray, test: IntArray) -> float:
    """Pearson's chi-squared p-value of equal shares of labels, rare ones taken together.

    Args:
        validation: ``[C]`` rows of each label.
        test: ``[C]`` the same of test.

    Returns:
        1 where fewer than two labels are frequent enough to expect five rows of in both.
    """
    table = np.stack([validation, test]).astype(np.float64)
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    frequent = expected >= _EXPECTED
    rest = table[:, ~frequent].sum(axis=1, keepdims=True)
    pooled = np.hstack([table[:, frequent], rest]) if rest.sum() else table[:, frequent]
    if pooled.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(pooled, correction=False).pvalue)


def text_shift(validation: Sequence[str], test: Sequence[str], *, seed: int = 0) -> TextShift | None:
    """A classifier two-sample test (Lopez-Paz and Oquab 2017) on characters.

    Logistic regression is fitted to one half of the rows and tried on the other.

    Args:
        validation: texts.
        test: texts.
        seed: of the stream ``fold``, which draws the rows and their halves.

    Returns:
        None where a split has fewer than 20 texts.
    """
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    generator = stream_generator(seed, "fold")
    drawn = [[texts[i] for i in generator.permutation(len(texts))[:MOST_TEXTS]] for texts in (validation, test)]
    if min(map(len, drawn)) < 20:
        return None
    texts = [text[:MOST_CHARACTERS] for part in drawn for text in part]
    of_test = np.repeat([0, 1], [len(drawn[0]), len(drawn[1])])
    # Single characters up to triples: words where there are spaces, and something to hold on to where there are none.
    features = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=2**16).transform(texts)
    held_out = np.concatenate([np.arange(len(part)) % 2 == 1 for part in drawn])
    model = LogisticRegression(C=1.0, max_iter=200, class_weight="balanced")
    model.fit(features[~held_out], of_test[~held_out])
    # One half alone: two halves that test each other's model agree by chance, and their p-values with them.
    scores = [model.decision_function(features[held_out & (of_test == side)]) for side in (1, 0)]
    above = mannwhitneyu(*scores, alternative="greater")
    return TextShift(float(above.statistic) / (len(scores[0]) * len(scores[1])), float(above.pvalue))
