"""Metrics of parts of the rows: by length and by any metadata column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.types import IntArray
from adjudge.evaluate.arrays import Arrays, read_arrays
from adjudge.evaluate.intervals import wilson_interval
from adjudge.evaluate.metrics import macro_f1
from adjudge.evaluate.sets import set_macro_f1

LENGTH_COLUMNS = ("n_chars", "n_tokens")
META_PREFIX = "meta_"
MOST_VALUES = 20
POOLED = "other"
MISSING = "(missing)"


@dataclass(frozen=True)
class Slices:
    """Which slice each row is in.

    Attributes:
        names: in the order to show, each with at least one row.
        index: ``[N]`` positions in ``names``.
    """

    names: tuple[str, ...]
    index: IntArray


def length_slices(lengths: IntArray) -> Slices:
    """Quartiles of length, shortest first, named by their shortest and longest row ("12–57").

    Equal lengths stay together, so there are fewer than four slices where many rows are of one length.

    Args:
        lengths: ``[N]`` in characters or tokens.
    """
    if not len(lengths):
        return Slices((), lengths)
    edges = np.quantile(lengths, [0.25, 0.5, 0.75])
    quartiles, index = np.unique(np.searchsorted(edges, lengths, side="left"), return_inverse=True)
    parts = [lengths[index == i] for i in range(len(quartiles))]
    return Slices(tuple(f"{part.min()}–{part.max()}" for part in parts), index.astype(np.int64))


def value_slices(values: pl.Series) -> Slices:
    """One slice per value, the most frequent first; beyond `MOST_VALUES` values the rest is pooled as "other".

    A null is a value too, shown as "(missing)".

    Args:
        values: ``[N]``.
    """
    column = values.cast(pl.String).fill_null(MISSING).alias("value")
    counts = column.value_counts(name="n").sort(["n", "value"], descending=[True, False])
    kept = counts["value"].to_list()
    if len(kept) > MOST_VALUES:
        kept = [value for value in kept[:MOST_VALUES] if value != POOLED] + [POOLED]
    places = {value: i for i, value in enumerate(kept)}
    pool = places.get(POOLED, 0)
    return Slices(tuple(kept), np.array([places.get(value, pool) for value in column], dtype=np.int64))


def slice_columns(table: pl.DataFrame) -> list[str]:
    """The columns that a prediction table can be sliced by: ``n_chars`` and every ``meta_`` column.

    Length in tokens is left to callers: it differs from model to model, and slices are for comparing them.
    """
    return [name for name in table.columns if name == "n_chars" or name.startswith(META_PREFIX)]


def slice_metrics(table: pl.DataFrame, labels: Sequence[str], by: str) -> dict[str, Any]:
    """Metrics of each slice of a prediction table.

    Args:
        table: as in `core.runs.prediction_table`; rows without a gold label are left out.
        labels: ``[C]`` the closed set.
        by: ``n_chars`` or ``n_tokens`` (quartiles), or a column of values, such as ``meta_source``.

    Returns:
        Slice name -> ``n``, ``accuracy``, ``accuracy_interval`` (95%, Wilson) and ``macro_f1`` (over the classes
        that the slice holds), ready for JSON, in the order to show.

    Raises:
        DataError: no such column, or a table that `read_arrays` refuses.
    """
    if by not in table.columns:
        raise DataError(f"no column {by!r} to slice by; {did_you_mean(by, slice_columns(table))}")
    return metrics_by_slice(table, read_arrays(table, labels), len(labels), by)


def metrics_by_slice(table: pl.DataFrame, arrays: Arrays, n_classes: int, by: str) -> dict[str, Any]:
    """`slice_metrics` for a table that has been read already; ``arrays`` are its `read_arrays`."""
    values = table[by][arrays.positions]
    slices = length_slices(values.to_numpy().astype(np.int64)) if by in LENGTH_COLUMNS else value_slices(values)
    by_slice: dict[str, Any] = {}
    for i, name in enumerate(slices.names):
        rows = slices.index == i
        gold, predicted = arrays.gold[rows], arrays.predicted[rows]
        right, n = int((gold == predicted).sum()), len(gold)
        by_slice[name] = {
            "n": n,
            "accuracy": right / n,
            "accuracy_interval": list(wilson_interval(right, n)),
            "macro_f1": macro_f1(gold, predicted, n_classes)
            if arrays.sets is None
            else set_macro_f1(arrays.sets[gold], arrays.sets[predicted]),
        }
    return by_slice
