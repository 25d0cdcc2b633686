"""Rows alike in gold label and in every answer are interchangeable: their distinct kinds, and how many of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, hstack

from adjudge.core.types import IntArray
from adjudge.evaluate.metrics import NO_ANSWER

Classes = int | npt.NDArray[np.bool_]
"""C; or of a multi-label task the table of sets ``[K, C]``, of which gold labels and answers are rows."""


@dataclass(frozen=True)
class RowKinds:
    """The P distinct kinds of rows of M runs.

    Attributes:
        count: ``[P]`` rows of each kind.
        held: ``[P, C]`` whether such a row has a label.
        right: ``[P, M C]`` whether run m gave it a label that it has.
        given: ``[P, M C]`` whether run m gave it a label.
    """

    count: IntArray
    held: csr_array
    right: csr_array
    given: csr_array


def row_kinds(gold: IntArray, methods: Sequence[IntArray], classes: Classes) -> RowKinds:
    """Count the kinds of rows.

    Args:
        gold: ``[N]`` label indices, 0 to C - 1, or codes of sets.
        methods: of each method ``[S, N]`` label indices or codes, or `metrics.NO_ANSWER`; M runs in all.
        classes: see `Classes`.

    Raises:
        ValueError: no rows, shapes that do not fit, or an index out of range.
    """
    n_codes = classes if isinstance(classes, int) else len(classes)
    for runs in methods:
        _check_runs(gold, runs, n_codes)
    table, count = np.unique(np.vstack([gold[None], *methods]), axis=1, return_counts=True)
    golds, answers = table[0], table[1:]
    if isinstance(classes, int):
        held = _indicator(golds, golds >= 0, classes)
        given = [_indicator(run, run != NO_ANSWER, classes) for run in answers]
        right = [_indicator(run, run == golds, classes) for run in answers]
    else:
        members = classes[golds]
        sets = [classes[run] & (run != NO_ANSWER)[:, None] for run in answers]
        held = csr_array(members.astype(np.float64))
        given = [csr_array(one.astype(np.float64)) for one in sets]
        right = [csr_array((one & members).astype(np.float64)) for one in sets]
    return RowKinds(count, held, csr_array(hstack(right)), csr_array(hstack(given)))


def _indicator(labels: IntArray, where: npt.NDArray[np.bool_], n_classes: int) -> csr_array:
    """Sparse 0/1 matrix ``[P, C]``: a 1 in column ``labels[p]`` where ``where`` says so."""
    rows = np.flatnonzero(where)
    return csr_array((np.ones(len(rows)), (rows, labels[rows])), shape=(len(labels), n_classes))


def _check_runs(gold: IntArray, runs: IntArray, n_codes: int) -> None:
    if gold.ndim != 1 or not len(gold) or runs.ndim != 2 or runs.shape[1] != len(gold) or not len(runs):
        raise ValueError(f"expected gold [N] and predictions [S, N], got {gold.shape} and {runs.shape}")
    if min(gold.min(), runs.min() + 1) < 0 or max(gold.max(), runs.max()) >= n_codes:
        raise ValueError(
            f"labels must lie in 0 to {n_codes - 1} (predictions may be -1), got gold {gold.min()} to {gold.max()} "
            f"and predictions {runs.min()} to {runs.max()}"
        )
