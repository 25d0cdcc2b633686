"""The readers on any bytes and on damaged files: nothing but clear errors, no row lost.

A few seconds here; `make fuzz EXAMPLES=20000` looks longer, at other examples every time.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tempfile
import warnings
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import xlsxwriter
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adjudge.core.errors import AdjudgeError, AdjudgeWarning, DataError
from adjudge.core.task import Source
from adjudge.data.files.records import Dialect, read_records
from adjudge.data.readers import FORMATS, iter_tables, read_table

EXAMPLES = int(os.environ.get("ADJUDGE_FUZZ_EXAMPLES", "15"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ADJUDGE_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

FRAME = pl.DataFrame(
    {
        "text": ["good, film", 'say "hi"', "two\nlines", "plain", "naïve – 你好"],
        "label": ["pos", "neg", "pos", "neg", "pos"],
        "n": [1, 2, 3, 4, 5],
    }
)


def written(write):
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


NESTED = FRAME.with_columns(
    pl.col("label").cast(pl.Categorical),
    tags=pl.Series([["a"], [], None, ["b", "c"], ["d"]]),
    meta=pl.Series([{"k": 1}] * 5),
    raw=pl.lit(b"x"),
)


def arrow_stream():
    table, stream = NESTED.to_arrow(), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def excel():
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream) as book:
        sheet = book.add_worksheet()
        for i, row in enumerate([FRAME.columns, *FRAME.rows()]):
            sheet.write_row(i, 0, row)
    return stream.getvalue()


VALID = {
    "a.csv": FRAME.write_csv().encode(),
    "a.tsv": FRAME.write_csv(separator="\t").encode(),
    "b.csv": FRAME.write_csv(separator=";").encode("utf-16"),
    "a.txt": b"good film;pos\nbad film;neg\n\xc3\xa9t\xc3\xa9;pos\n",
    "a.json": json.dumps(FRAME.to_dicts()).encode(),
    "columns.json": json.dumps(FRAME.to_dict(as_series=False)).encode(),
    "splits.json": json.dumps({"train": FRAME.to_dicts(), "test": FRAME.to_dicts()}).encode(),
    "a.jsonl": written(FRAME.write_ndjson),
    "a.parquet": written(FRAME.write_parquet),
    "nested.parquet": written(lambda stream: NESTED.write_parquet(stream, compression="uncompressed")),
    "a.arrow": written(NESTED.write_ipc),
    "a.feather": arrow_stream(),
    "a.xlsx": excel(),
    "a.csv.gz": gzip.compress(FRAME.write_csv().encode()),
    "data": FRAME.write_csv().encode(),
}
SNIPPETS = [
    b'"', b'""', b"\n", b"\r", b"\r\n", b",", b"\t", b";", b"|", b"\\", b'\\"', b"\0", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\xe2\x82", b"\x80", b"\xc3\xa9", b"{", b"}", b"[", b"]", b":", b"#", b"sep=;\n", b"1" * 5000, b"NaN", b"\\ud800",
    b'{"text": 1}', b"[1]", b'"text"', b"text,label\n", b'{"a": 1, "a": 2}', b" ", b"\xe2\x80\xa8", b"PAR1",
    b"PK\x03\x04", b"\x1f\x8b",
]  # fmt: skip
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "format": st.sampled_from(sorted(FORMATS)),
        "header": st.sampled_from([True, False, 1, 2, 3]),
        "quoting": st.sampled_from(["none", "standard"]),
        "delimiter": st.sampled_from([",", "\t", ";", "|", '"', "a"]),
        "escape": st.sampled_from(["\\", '"']),
        "comment": st.sampled_from(["#", "t", '"']),
        "skip_bad_rows": st.sampled_from([0, 1, 100]),
        "encoding": st.sampled_from(["utf-8", "latin-1", "gb18030", "utf-16", "utf-7", "idna", "base64", "nothing"]),
        "split": st.sampled_from(["train", "dev"]),
    },
)


@st.composite
def damaged(draw):
    """A valid file with a few bytes taken out, doubled, overwritten or put in."""
    name = draw(st.sampled_from(sorted(VALID)))
    data = bytearray(VALID[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        what = draw(st.sampled_from(["cut", "double", "insert", "overwrite", "end"]))
        if what == "cut":
            del data[at:end]
        elif what == "double":
            data[at:at] = data[at:end]
        elif what == "end":
            del data[at:]
        else:
            snippet = draw(st.sampled_from(SNIPPETS) | st.binary(max_size=3))
            data[at : end if what == "overwrite" else at] = snippet
    return name, bytes(data)


def outcome(name, data, **options):
    """The frame that a file gives, or the error; any other exception fails the test. And the warnings."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (Path(folder) / name).write_bytes(data)
        source = Source(path=name, **options)
        try:
            whole = read_table(source, base=Path(folder)).frame
        except AdjudgeError as error:
            return error, caught
        if source.split is None and name.startswith("splits"):
            return whole, caught
        batches = list(iter_tables(source, base=Path(folder), batch_rows=2))
        assert all(batch.height <= 2 for batch in batches)
        assert pl.concat(batches).equals(whole)
        return whole, caught


def told(caught):
    return [str(one.message) for one in caught if issubclass(one.category, AdjudgeWarning)]


@fuzz
@given(st.sampled_from([*VALID, "a.xls", "a.ndjson", "a.zip", "x.py"]), st.binary(max_size=300), OPTIONS)
def test_any_bytes_are_a_table_or_a_clear_error(name, data, options):
    outcome(name, data, **options)


@fuzz
@given(st.sampled_from(sorted(VALID)), st.lists(st.sampled_from(SNIPPETS), max_size=25), OPTIONS)
def test_any_pieces_of_files_are_a_table_or_a_clear_error(name, snippets, options):
    outcome(name, b"".join(snippets), **options)


@fuzz
@given(damaged(), OPTIONS)
def test_a_damaged_file_is_a_table_or_a_clear_error(file, options):
    outcome(*file, **options)


CELLS = st.text(st.sampled_from("ab \"\\#,;'é"), max_size=8)


@fuzz
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=9), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_file_without_quoting_gives_a_row_for_each_line_or_says_where_it_does_not(rows, line_end):
    lines = ["\t".join(row) for row in [("text", "label"), *rows]]
    result, caught = outcome("a.tsv", (line_end.join(lines) + line_end).encode())
    if isinstance(result, DataError):
        assert "line" in str(result)
        return
    repeated = sum(row == ("text", "label") for row in rows)
    assert result.height == len(rows) - repeated or any("lines " in warning for warning in told(caught))
    assert outcome("a.tsv", (line_end.join(lines) + line_end).encode(), quoting="none")[0].rows() == [
        row for row in rows if row != ("text", "label")
    ]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(
    ['"', "a\nb", "a\r\nb", "\r", 'a "b" c', " x ", "a, b", "a;b", "\ufeff", "\u2028", "text"]
)


@fuzz
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_back(rows, delimiter, quoting, line_end):
    assume(("text", "label") not in rows)
    assume(quoting == csv.QUOTE_ALL or not any("\r" in cell for row in rows for cell in row))  # it leaves them bare
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    writer.writerows([("text", "label"), *rows])
    result, _ = outcome("a.csv", stream.getvalue().encode(), quoting="standard")
    assert result.rows() == rows
    found, caught = outcome("a.csv", stream.getvalue().encode())
    assert isinstance(found, DataError) or found.rows() == rows or told(caught)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["text", "a", "b", ""]), VALUES, min_size=1), min_size=1, max_size=6
)


@fuzz
@given(RECORDS, st.sampled_from(["a.json", "a.jsonl"]), st.booleans())
def test_every_json_object_is_a_row_with_its_texts(records, name, as_lines):
    assume(not as_lines or name == "a.jsonl" or len(records) > 1)  # one object could be columns
    content = "\n".join(map(json.dumps, records)) if as_lines else json.dumps(records)
    result, _ = outcome(name, content.encode())
    if isinstance(result, DataError):
        assert "half a character" in str(result)
        return
    assert result.height == len(records)
    for column in result.columns:
        if result.schema[column] == pl.String:
            texts = [record.get(column) for record in records]
            kept = [cell for cell, text in zip(result[column], texts, strict=True) if isinstance(text, str)]
            assert kept == [text for text in texts if isinstance(text, str)]


@fuzz
@given(st.lists(st.text(st.sampled_from('ab "\t;'), max_size=6), min_size=1, max_size=9), st.booleans())
def test_every_line_of_a_text_file_is_a_row(lines, ends):
    content = "\n".join(lines) + ("\n" if ends or not lines[-1] else "")
    result, _ = outcome("a.txt", content.encode(), format="text")
    assert result.rows() == [(line,) for line in lines]


@fuzz
@given(st.lists(st.lists(st.sampled_from(["a", "b c", "d'e"]), min_size=1, max_size=4), min_size=1, max_size=9))
def test_rows_that_are_read_and_rows_that_are_left_out_are_all_rows(rows):
    content = "\n".join(",".join(row) for row in [["text", "label"], *rows])
    result, caught = outcome("a.csv", content.encode(), skip_bad_rows=len(rows))
    good = [tuple(row) for row in rows if len(row) == 2]
    if isinstance(result, DataError):
        assert not good
        return
    assert result.rows() == good
    assert len(good) == len(rows) or f"{len(rows) - len(good)} row" in told(caught)[0]


@fuzz
@given(
    st.text(st.sampled_from('a,"\n\r\\# ;'), max_size=40),
    st.builds(
        Dialect,
        delimiter=st.sampled_from([",", ";", None]),
        quoting=st.booleans(),
        escape=st.sampled_from([None, "\\"]),
        spaced=st.booleans(),
    ),
)
def test_every_line_belongs_to_one_record(content, dialect):
    lines = list(io.StringIO(content, newline=""))
    at = 1
    for record in read_records(lines, dialect):
        assert record.first == at
        assert record.last >= record.first
        at = record.last + 1
    assert at == len(lines) + 1


@pytest.mark.parametrize("name", sorted(VALID))
def test_the_files_that_are_damaged_are_whole_without_it(name):
    result, _ = outcome(name, VALID[name])
    assert result.height == (3 if name == "a.txt" else FRAME.height)
