"""Labels as numbers: what the methods with a linear layer fit to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.problem import Problem
from adjudge.core.types import IntArray, Split

Targets = IntArray | npt.NDArray[np.bool_]
"""Label positions ``[N]``, or of a multi-label task whether each row has each label, ``[N, C]``."""


def label_sets(split: Split, labels: tuple[str, ...], problem: Problem) -> npt.NDArray[np.bool_]:
    """Whether each row has each label, ``[N, C]``, of a multi-label task.

    Raises:
        DataError: a row's labels are missing or not in the set; the first such rows are named.
    """
    known = frozenset(labels)
    parts = [None if cell is None else problem.split(cell) for cell in split.labels]
    wrong = [i for i, row in enumerate(parts) if row is None or not known.issuperset(row)]
    if wrong:
        unknown = [next((part for part in parts[i] or () if part not in known), None) for i in wrong[:10]]
        raise DataError([_problem(split, i, labels, part) for i, part in zip(wrong, unknown, strict=False)])
    return problem.indicator([cell for cell in split.labels if cell is not None], labels)


def targets_of(split: Split, labels: tuple[str, ...], problem: Problem) -> Targets:
    """What is learnt from a split's rows: `label_indices`, or of a multi-label task `label_sets`."""
    return label_sets(split, labels, problem) if problem.multi else label_indices(split, labels)


def label_indices(split: Split, labels: tuple[str, ...]) -> IntArray:
    """Each row's label as its position in the closed set, ``[N]``.

    Raises:
        DataError: a label is missing or not in the set; the first such rows are named.
    """
    position = {label: i for i, label in enumerate(labels)}
    wrong = [i for i, label in enumerate(split.labels) if label not in position]
    if wrong:
        raise DataError([_problem(split, i, labels, split.labels[i]) for i in wrong[:10]])
    return np.array([position[label] for label in split.labels if label is not None], dtype=np.int64)


def _problem(split: Split, row: int, labels: tuple[str, ...], label: str | None) -> str:
    number = split.row_numbers[row] if len(split.row_numbers) else row + 1
    what = "the label is missing" if label is None else f"unknown label {label!r}; {did_you_mean(label, labels)}"
    return f"{split.source or split.name}, row {number}: {what}"


def smoothed_log_shares(targets: IntArray, n_labels: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Logarithms of the label shares ``[C]``, half a row added to each label (Jeffreys' prior): none is -inf."""
    counts = np.bincount(targets, minlength=n_labels) + 0.5
    shares: np.ndarray[tuple[int], np.dtype[np.float32]] = np.log(counts / counts.sum()).astype(np.float32)
    return shares


def smoothed_log_odds(sets: npt.NDArray[np.bool_]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Logarithms of the odds of each label ``[C]``, half a row added to either side: none is infinite."""
    held = sets.sum(axis=0) + 0.5
    odds: np.ndarray[tuple[int], np.dtype[np.float32]] = np.log(held / (len(sets) + 1 - held)).astype(np.float32)
    return odds
