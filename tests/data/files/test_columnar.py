"""Parquet and Arrow: names of classes, types that cannot be read, damaged files."""

from __future__ import annotations

import decimal

import datasets
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.readers import read_table

FEATURES = datasets.Features(
    text=datasets.Value("string"),
    label=datasets.ClassLabel(names=["neg", "pos"]),
    tags=datasets.Sequence(datasets.ClassLabel(names=["a", "b"])),
)
DATA = {"text": ["x", "y", "z"], "label": [1, 0, -1], "tags": [[0, 1], [], [1]]}


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_class_numbers_of_datasets_become_names(tmp_path, suffix):
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict(DATA, features=FEATURES)
    if suffix == "parquet":
        made.to_parquet(tmp_path / "a.parquet")
    else:
        made.save_to_disk(tmp_path / "made")
        (tmp_path / "made" / "data-00000-of-00001.arrow").rename(tmp_path / "a.arrow")
    frame = read_table(Source(path=f"a.{suffix}"), base=tmp_path).frame
    assert frame.rows() == [("x", "pos", ["a", "b"]), ("y", "neg", []), ("z", None, ["b"])]


def test_a_class_number_without_a_name_stays_a_number(tmp_path):
    table = pa.table({"text": ["x"], "label": [7]})
    metadata = {b"huggingface": b'{"info": {"features": {"label": {"names": ["a"], "_type": "ClassLabel"}}}}'}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert read_table(Source(path="a.parquet"), base=tmp_path).frame["label"].to_list() == ["7"]


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"info": {"features": []}}', b'{"info": null}'])
def test_metadata_of_another_form_change_nothing(tmp_path, metadata):
    pq.write_table(
        pa.table({"text": ["x"]}).replace_schema_metadata({b"huggingface": metadata}), tmp_path / "a.parquet"
    )
    assert read_table(Source(path="a.parquet"), base=tmp_path).frame.rows() == [("x",)]


def test_types_that_cannot_be_read_are_named_all_at_once(tmp_path):
    table = pa.table(
        {
            "text": ["x"],
            "wide": pa.array([decimal.Decimal("1.5")], pa.decimal256(50, 2)),
            "inside": pa.array([[decimal.Decimal("1.5")]], pa.list_(pa.decimal256(50, 2))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'wide' has the type decimal256(.|\n)*'inside' has the type"):
        read_table(Source(path="a.parquet"), base=tmp_path)


def test_maps_extensions_and_dictionaries_are_read_as_what_they_hold(tmp_path):
    table = pa.table(
        {
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16], pa.binary(16))),
            "word": pa.array(["x"]).dictionary_encode(),
        }
    )
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    (row,) = read_table(Source(path="a.arrow"), base=tmp_path).frame.to_dicts()
    assert row == {"map": [{"key": "k", "value": 1}], "uuid": b"a" * 16, "word": "x"}


def test_a_name_that_is_given_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="several columns 'text'"):
        read_table(Source(path="a.arrow"), base=tmp_path)


def test_offsets_that_point_nowhere_are_an_error_and_end_no_process(tmp_path):
    frame = pl.DataFrame({"text": ["a long text that lies outside of the view of a string", "b"]})
    frame.write_ipc(tmp_path / "a.arrow", compression="uncompressed")
    content = (tmp_path / "a.arrow").read_bytes()
    at = content.index(b"a long text")
    view = content.index(len("a long text that lies outside of the view of a string").to_bytes(4, "little"), 200)
    assert view != at
    damaged = bytearray(content)
    damaged[view + 12 : view + 16] = (10**6).to_bytes(4, "little")  # the place of the text in its buffer
    (tmp_path / "a.arrow").write_bytes(bytes(damaged))
    with pytest.raises(DataError, match="not a readable Arrow file"):
        read_table(Source(path="a.arrow"), base=tmp_path)
