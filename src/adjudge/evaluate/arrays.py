"""A prediction table as arrays, checked against the label set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.problem import SINGLE, Problem
from adjudge.core.types import IntArray
from adjudge.evaluate.metrics import NO_ANSWER, accuracy, first_bad_row, macro_f1
from adjudge.evaluate.paired import Metric
from adjudge.evaluate.sets import set_macro_f1

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
        sets: ``[K, C]`` of a multi-label task: then gold and predicted are rows of it, codes of sets; else None.
    """

    row_ids: tuple[str, ...]
    gold: IntArray
    predicted: IntArray
    probs: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    positions: IntArray
    unlabelled: int
    sets: npt.NDArray[np.bool_] | None = None

    def classes(self, labels: Sequence[str]) -> int | npt.NDArray[np.bool_]:
        """What `paired.paired_difference` counts by: the number of labels, or the table of sets."""
        return len(labels) if self.sets is None else self.sets

    def score(self, metric: Metric, labels: Sequence[str]) -> float:
        """A metric of these rows; of a multi-label task the share of whole sets that are right, or F1 over labels."""
        if metric == "accuracy":
            return accuracy(self.gold, self.predicted)
        if self.sets is None:
            return macro_f1(self.gold, self.predicted, len(labels))
        return set_macro_f1(self.sets[self.gold], self.sets[self.predicted])

    @property
    def unparsed(self) -> int:
        """Rows without an answer; they count as wrong."""
        return int((self.predicted == NO_ANSWER).sum())


def read_arrays(table: pl.DataFrame, labels: Sequence[str], problem: Problem = SINGLE) -> Arrays:
    """Read a prediction table (columns as in `core.runs.prediction_table`).

    The answer is the column ``predicted``; it is `metrics.NO_ANSWER` where ``parse_status`` is not in `ANSWERED`,
    whatever ``predicted`` says.

    Args:
        table: one row per text.
        labels: ``[C]`` the closed set, in the order of the arrays.
        problem: how many labels a cell of ``gold`` and ``predicted`` holds.

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
    if problem.multi:
        return _read_sets(table, numbered, labels, problem)
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


def _read_sets(table: pl.DataFrame, numbered: pl.DataFrame, labels: Sequence[str], problem: Problem) -> Arrays:
    probabilities, logits = (
        numbered.select([f"{what}_{label}" for label in labels]).to_numpy().astype(np.float32, copy=False)
        for what in ("prob", "logit")
    )
    bad = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)).all(axis=1))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"row {numbered['row_id'][row]!r}, columns prob_*: {probabilities[row].tolist()} must lie in 0 to 1"
        )
    cells = [_known_cells(numbered, column, labels, problem) for column in ("gold", "predicted")]
    codes = {cell: code for code, cell in enumerate(sorted({*cells[0], *cells[1]}))}
    gold, predicted = (np.array([codes[cell] for cell in answers], dtype=np.int64) for answers in cells)
    return Arrays(
        row_ids=tuple(numbered["row_id"].cast(pl.String)),
        gold=gold,
        predicted=predicted,
        probs=probabilities,
        logits=logits,
        positions=numbered["__position"].to_numpy().astype(np.int64),
        unlabelled=len(table) - len(numbered),
        sets=problem.indicator(list(codes), labels),
    )


def _known_cells(table: pl.DataFrame, column: str, labels: Sequence[str], problem: Problem) -> list[str]:
    """The cells of a column in canonical form, so that equal sets are equal texts."""
    known = frozenset(labels)
    canonical = []
    for row, cell in zip(table["row_id"], table[column].cast(pl.String), strict=True):
        if cell is None:
            raise DataError(
                f"row {row!r}, column {column}: no answer; a multi-label classifier gives one to every row"
            )
        parts = problem.split(cell)
        unknown = next((part for part in parts if part not in known), None)
        if unknown is not None:
            hint = did_you_mean(unknown, labels)
            raise DataError(f"row {row!r}, column {column}: {unknown!r} is not in the label set; {hint}")
        canonical.append(problem.join(parts))
    return canonical


def with_shared_sets(arrays: Sequence[Arrays]) -> list[Arrays]:
    """Multi-label arrays of several runs with one table of sets: equal codes are equal sets in all of them."""
    tables = [one.sets for one in arrays if one.sets is not None]
    if len(tables) < len(arrays):
        return list(arrays)
    shared, place = np.unique(np.concatenate(tables), axis=0, return_inverse=True)
    starts = np.cumsum([0, *map(len, tables)])
    recoded = []
    for one, start, end in zip(arrays, starts[:-1], starts[1:], strict=True):
        code = place.ravel()[start:end]
        recoded.append(replace(one, gold=code[one.gold], predicted=code[one.predicted], sets=shared))
    return recoded


def _indices(table: pl.DataFrame, column: str, labels: Sequence[str]) -> IntArray:
    positions = (
        table[column]
        .cast(pl.String)
        .replace_strict(list(labels), list(range(len(labels))), default=None, return_dtype=pl.Int64)
    )
    if positions.null_count():
        at = int(positions.is_null().arg_true()[0])
        value = table[column][at]
        raise DataError(
            f"row {table['row_id'][at]!r}, column {column}: {value!r} is not in the label set; "
            f"{did_you_mean(str(value), labels)}"
        )
    return positions.to_numpy().astype(np.int64, copy=False)
