"""A prediction table as arrays, checked against the label set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.types import IntArray
from adjudge.evaluate.metrics import NO_ANSWER, first_bad_row

ANSWERED = ("scored", "parsed")
"""The values of ``parse_status`` that come with an answer."""


@dataclass(frozen=True)
class Arrays:
    """The rows of a prediction table that have a gold label.

    Attributes:
        row_ids: ``[N]``.
        gold: ``[N]`` label indices.
        predicted: ``[N]`` label indices, `metrics.NO_ANSWER` where the reply could not be parsed.
        probs: ``[N, C]`` calibrated probabilities; without meaning where there is no answer.
        logits: ``[N, C]`` uncalibrated scores; likewise.
        positions: ``[N]`` 0-based rows of the table.
        unlabelled: rows of the table that were left out because they have no gold label.
    """

    row_ids: tuple[str, ...]
    gold: IntArray
    predicted: IntArray
    probs: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    positions: IntArray
    unlabelled: int

    @property
    def unparsed(self) -> int:
        """Rows without an answer; they count as wrong."""
        return int((self.predicted == NO_ANSWER).sum())


def read_arrays(table: pl.DataFrame, labels: Sequence[str]) -> Arrays:
    """Read a prediction table (columns as in `core.runs.prediction_table`).

    The answer is the column ``predicted``; it is `metrics.NO_ANSWER` where ``parse_status`` is not in `ANSWERED`,
    whatever ``predicted`` says.

    Args:
        table: one row per text.
        labels: ``[C]`` the closed set, in the order of the arrays.

    Raises:
        DataError: missing columns (all named), a gold label or an answer outside the label set, or an answer whose
            probabilities are none.
    """
    probs, logits = [f"prob_{label}" for label in labels], [f"logit_{label}" for label in labels]
    needed = ["row_id", "gold", "predicted", "parse_status", *probs, *logits]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(f"the prediction table lacks the columns {', '.join(missing)}; labels: {', '.join(labels)}")
    numbered = table.with_row_index("__position").filter(pl.col("gold").is_not_null())
    gold = _indices(numbered, "gold", labels)
    answered = numbered["parse_status"].is_in(ANSWERED).fill_null(value=False).to_numpy()
    predicted = np.full(len(numbered), NO_ANSWER, dtype=np.int64)
    predicted[answered] = _indices(numbered.filter(pl.lit(answered)), "predicted", labels)
    probabilities = numbered.select(probs).to_numpy().astype(np.float32, copy=False)
    bad = first_bad_row(probabilities[answered])
    if bad is not None:
        row = int(np.flatnonzero(answered)[bad])
        raise DataError(
            f"row {numbered['row_id'][row]!r}, columns prob_*: {probabilities[row].tolist()} must lie in 0 to 1 and "
            "sum to 1"
        )
    return Arrays(
        row_ids=tuple(numbered["row_id"].cast(pl.String)),
        gold=gold,
        predicted=predicted,
        probs=probabilities,
        logits=numbered.select(logits).to_numpy().astype(np.float32, copy=False),
        positions=numbered["__position"].to_numpy().astype(np.int64),
        unlabelled=len(table) - len(numbered),
    )


def _indices(table: pl.DataFrame, column: str, labels: Sequence[str]) -> IntArray:
    found = (
        table[column]
        .cast(pl.String)
        .replace_strict(list(labels), list(range(len(labels))), default=None, return_dtype=pl.Int64)
    )
    if found.null_count():
        at = int(found.is_null().arg_true()[0])
        value = table[column][at]
        raise DataError(
            f"row {table['row_id'][at]!r}, column {column}: {value!r} is not in the label set; "
            f"{did_you_mean(str(value), labels)}"
        )
    return found.to_numpy().astype(np.int64, copy=False)
