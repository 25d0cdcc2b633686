import numpy as np
import polars as pl
import pytest

from adjudge.core.errors import DataError
from adjudge.evaluate.intervals import wilson_interval
from adjudge.evaluate.metrics import macro_f1
from adjudge.evaluate.predictions import read_arrays
from adjudge.evaluate.slices import length_slices, slice_columns, slice_metrics, value_slices

from .prediction_tables import LABELS, table


def test_length_quartiles_are_named_by_their_shortest_and_longest_row():
    found = length_slices(np.array([8, 1, 5, 3, 2, 7, 4, 6]))
    assert found.names == ("1–2", "3–4", "5–6", "7–8")
    assert found.index.tolist() == [3, 0, 2, 1, 0, 3, 1, 2]


def test_equal_lengths_stay_in_one_slice():
    assert length_slices(np.array([5, 5, 5, 5])).names == ("5–5",)
    found = length_slices(np.array([5, 5, 5, 5, 5, 5, 5, 9]))
    assert (found.names, found.index.tolist()) == (("5–5", "9–9"), [0] * 7 + [1])
    assert length_slices(np.array([], dtype=np.int64)).names == ()


def test_values_come_by_frequency_then_name_and_nulls_are_shown():
    found = value_slices(pl.Series(["b", "a", None, "c", "c"]))
    assert found.names == ("c", "(missing)", "a", "b")
    assert found.index.tolist() == [3, 2, 1, 0, 0]


def test_values_beyond_the_twentieth_are_pooled():
    column = [f"v{i:02d}" for i in range(20) for _ in range(2)] + ["rare 1", "rare 2"]
    found = value_slices(pl.Series(column))
    assert len(found.names) == 21
    assert found.names[-1] == "other"
    assert found.index[-2:].tolist() == [20, 20]
    assert len(value_slices(pl.Series(column[:40])).names) == 20


def test_a_value_called_other_joins_the_pool():
    found = value_slices(pl.Series(["other"] * 3 + [f"v{i:02d}" for i in range(20) for _ in range(2)] + ["rare"]))
    assert found.names.count("other") == 1
    assert (found.index == len(found.names) - 1).sum() == 3 + 2 + 1  # "other", the least frequent value kept out, rare


@pytest.mark.parametrize("by", ["n_chars", "n_tokens", "meta_source"])
def test_slices_hold_every_row_once_with_its_metrics(by):
    rows = table(80, meta={"source": ["web", "mail"] * 40})
    found = slice_metrics(rows, LABELS, by)
    assert sum(part["n"] for part in found.values()) == 80
    arrays = read_arrays(rows, LABELS)
    overall = (arrays.gold == arrays.predicted).mean()
    assert sum(part["n"] * part["accuracy"] for part in found.values()) == pytest.approx(80 * overall)


def test_slice_by_metadata_equals_metrics_of_its_rows():
    rows = table(80, meta={"source": ["web", "mail"] * 40})
    found = slice_metrics(rows, LABELS, "meta_source")
    assert list(found) == ["mail", "web"]
    part = read_arrays(rows.filter(pl.col("meta_source") == "web"), LABELS)
    right = int((part.gold == part.predicted).sum())
    assert found["web"] == {
        "n": 40,
        "accuracy": right / 40,
        "accuracy_interval": list(wilson_interval(right, 40)),
        "macro_f1": macro_f1(part.gold, part.predicted, 3),
    }


def test_slices_leave_out_rows_without_gold():
    rows = table(40, meta={"source": ["web", "mail"] * 20})
    rows = rows.with_columns(gold=pl.when(pl.col("meta_source") == "web").then("gold"))
    assert {name: part["n"] for name, part in slice_metrics(rows, LABELS, "meta_source").items()} == {"web": 20}


def test_columns_to_slice_by_are_length_and_metadata():
    assert slice_columns(table(4, meta={"lang": ["a"] * 4})) == ["n_chars", "meta_lang"]


def test_unknown_column_names_the_nearest():
    with pytest.raises(DataError, match=r"no column 'meta_sorce'.*did you mean 'meta_source'"):
        slice_metrics(table(4, meta={"source": ["a"] * 4}), LABELS, "meta_sorce")
