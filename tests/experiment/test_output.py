"""What an output can hold, found before anything is predicted."""

from __future__ import annotations

import datetime
import decimal

import polars as pl
import pytest

from adjudge.core.errors import DataError
from adjudge.experiment.output import refuse_columns, write_output

DAY = datetime.timedelta(days=1)
HELD = {
    "dates": pl.Series([datetime.date(2020, 1, 1)]),
    "times": pl.Series([datetime.datetime(2020, 1, 1)]),
    "decimals": pl.Series([decimal.Decimal("1.5")]),
    "categories": pl.Series(["a"], dtype=pl.Categorical),
    "nothing": pl.Series([None]),
    "lists": pl.Series([["a"]]),
    "arrays": pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
    "objects": pl.Series([{"a": [1.5, None]}]),
    "dates inside": pl.Series([[datetime.date(2020, 1, 1)]]),
}
REFUSED = {
    "bytes": (pl.Series([b"\xff"]), {"csv", "tsv", "jsonl"}),
    "bytes in a list": (pl.Series([[b"\xff"]]), {"csv", "tsv", "jsonl"}),
    "bytes in an array": (pl.Series([[b"\xff"]], dtype=pl.Array(pl.Binary, 1)), {"csv", "tsv", "jsonl"}),
    "bytes in lists of objects": (pl.Series([[{"a": [b"\xff"]}]]), {"csv", "tsv", "jsonl"}),
    "durations": (pl.Series([DAY]), {"csv", "tsv"}),
    "durations in an object": (pl.Series([{"a": DAY}]), {"csv", "tsv"}),
    "an object without fields": (pl.Series([{}], dtype=pl.Struct([])), {"csv", "tsv", "jsonl", "parquet"}),
    "python objects": (pl.Series([object()], dtype=pl.Object), {"csv", "tsv", "jsonl", "parquet"}),
}
KINDS = ["csv", "tsv", "jsonl", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "series", [*HELD.values(), *(series for series, _ in REFUSED.values())], ids=[*HELD, *REFUSED]
)
def test_what_is_not_refused_can_be_written(tmp_path, kind, series):
    frame = pl.DataFrame({"text": ["a"], "x": series})
    try:
        refuse_columns(frame.schema, kind, "new.parquet")
    except DataError:
        return
    frame.write_parquet(tmp_path / "0.parquet")
    write_output([tmp_path / "0.parquet"], tmp_path / f"out.{kind}", kind, 1)
    assert (tmp_path / f"out.{kind}").stat().st_size


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_cannot_be_written_is_refused(kind):
    for series in HELD.values():
        refuse_columns(pl.DataFrame({"x": series}).schema, kind, "a")
    for series, kinds in REFUSED.values():
        schema = pl.DataFrame({"x": series}).schema
        if kind not in kinds:
            refuse_columns(schema, kind, "a")
            continue
        with pytest.raises(DataError, match="column 'x' holds"):
            refuse_columns(schema, kind, "a")


def test_every_such_column_is_named_with_what_can_hold_it():
    schema = {"id": pl.Binary(), "wait": pl.Duration(), "thing": pl.Object()}
    with pytest.raises(DataError) as caught:
        refuse_columns(schema, "csv", "new.parquet")
    held = ["binary data", "durations", "values of the type Object"]
    out = "leave the column out"
    remedies = [f"write *.parquet, or {out}", f"write *.jsonl, or {out}", out]
    assert caught.value.problems == tuple(
        f"new.parquet: column {name!r} holds {what}, which a .csv file cannot hold; {remedy}"
        for name, what, remedy in zip(schema, held, remedies, strict=True)
    )
