"""Whether what was best on validation can be expected to be best on test: the two splits side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adjudge.compare.results import CompareOptions, MethodGroup
from adjudge.compare.testing import Members
from adjudge.core.types import IntArray
from adjudge.evaluate.arrays import Arrays
from adjudge.evaluate.paired import holm
from adjudge.evaluate.shift import label_shift, score_shift, text_shift

ALPHA = 0.001
"""Of every test here: a split made at random is called shifted once in hundreds of comparisons."""

LEAST_AUC = 0.6
"""Texts that can only be told apart less well than this are of one kind for all that matters."""

LEAST_SHARE = 0.05
"""Labels whose shares differ by less in total are of one kind for all that matters."""


def shift_sentence(reference: MethodGroup, members: Members, options: CompareOptions) -> str:
    """How validation and test differ more than chance, in words; empty where they do not.

    Three tests: of every method's accuracy on both splits (Fisher's exact test, Holm over methods), of the shares of
    labels, and of the texts, where the runs stored them. Validation chose checkpoints and thresholds, so scores alone
    may fall a little without a shift; with many rows that is said too, as it is true.
    """
    parts = [*_scores(reference, members), *_labels(members), *_texts(members, options)]
    if not parts:
        return ""
    differs = "; ".join(parts)
    return f"Validation and test differ more than chance: {differs}. What was best on one need not be on the other. "


def _scores(reference: MethodGroup, members: Members) -> Iterator[str]:
    shares: dict[str, tuple[float, float]] = {}
    p_values = []
    for label, runs in members.items():
        validation = [run.validation for run in runs if run.validation is not None]
        if len(validation) < len(runs):
            continue
        before, after = _accuracy(validation), _accuracy([run.test for run in runs])
        sizes = (len(validation[0].gold), len(runs[0].test.gold))
        p_values.append(score_shift((round(before * sizes[0]), round(after * sizes[1])), sizes))
        shares[label] = (before, after)
    shifted = [label for label, p in zip(shares, holm(p_values), strict=True) if p <= ALPHA]
    for label in sorted(shifted, key=lambda one: (one != reference.label, one))[:2]:
        before, after = shares[label]
        yield f"the accuracy of {label} is {before:.3f} on validation and {after:.3f} on test"
    if len(shifted) > 2:
        yield f"so it is with {len(shifted) - 2} other method{'s' if len(shifted) > 3 else ''}"


def _labels(members: Members) -> Iterator[str]:
    first = next((run for runs in members.values() for run in runs if run.validation is not None), None)
    if first is None or first.validation is None:
        return
    counts = [_label_counts(arrays, len(first.labels)) for arrays in (first.validation, first.test)]
    shares = [count / max(count.sum(), 1) for count in counts]
    if label_shift(counts[0], counts[1]) <= ALPHA and np.abs(shares[0] - shares[1]).sum() / 2 >= LEAST_SHARE:
        most = int(np.abs(shares[0] - shares[1]).argmax())
        before, after = shares[0][most], shares[1][most]
        yield f"{first.labels[most]} is {before:.1%} of the labels on validation and {after:.1%} on test"


def _texts(members: Members, options: CompareOptions) -> Iterator[str]:
    for run in (run for runs in members.values() for run in runs):
        table = run.run.texts()
        if table is None or not {"validation", "test"} <= set(table["split"]):
            continue
        texts = [table.filter(table["split"] == split)["text"].to_list() for split in ("validation", "test")]
        shift = text_shift(*texts, seed=options.seed)
        if shift is not None and shift.p_value <= ALPHA and shift.auc >= LEAST_AUC:
            yield f"a classifier tells their texts apart (AUC {shift.auc:.2f}, where 0.5 is chance)"
        return


def _accuracy(splits: Sequence[Arrays]) -> float:
    return float(np.mean([(arrays.predicted == arrays.gold).mean() for arrays in splits]))


def _label_counts(arrays: Arrays, n_labels: int) -> IntArray:
    if arrays.sets is not None:
        return np.asarray(arrays.sets[arrays.gold].sum(axis=0), dtype=np.int64)
    return np.bincount(arrays.gold, minlength=n_labels)
