"""Labels as numbers: what the methods with a linear layer fit to."""

from __future__ import annotations

import numpy as np

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.types import IntArray, Split


def label_indices(split: Split, labels: tuple[str, ...]) -> IntArray:
    """Each row's label as its position in the closed set, ``[N]``.

    Raises:
        DataError: a label is missing or not in the set; the first such rows are named.
    """
    position = {label: i for i, label in enumerate(labels)}
    wrong = [i for i, label in enumerate(split.labels) if label not in position]
    if wrong:
        raise DataError([_problem(split, i, labels) for i in wrong[:10]])
    return np.array([position[label] for label in split.labels if label is not None], dtype=np.int64)


def _problem(split: Split, row: int, labels: tuple[str, ...]) -> str:
    number = split.row_numbers[row] if len(split.row_numbers) else row + 1
    label = split.labels[row]
    what = "the label is missing" if label is None else f"unknown label {label!r}; {did_you_mean(label, labels)}"
    return f"{split.source or split.name}, row {number}: {what}"


def smoothed_log_shares(targets: IntArray, n_labels: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Logarithms of the label shares ``[C]``, half a row added to each label (Jeffreys' prior): none is -inf."""
    counts = np.bincount(targets, minlength=n_labels) + 0.5
    shares: np.ndarray[tuple[int], np.dtype[np.float32]] = np.log(counts / counts.sum()).astype(np.float32)
    return shares
