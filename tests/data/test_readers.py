import gzip
import json
import tracemalloc
import warnings

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
import xlsxwriter

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Source
from adjudge.data.readers import FORMATS, iter_tables, read_table

FRAME = pl.DataFrame({"text": ["good", 'b,\n"d"'], "label": ["1", "0"]})


def write_excel(path):
    with xlsxwriter.Workbook(str(path)) as book:
        for name, shift in (("first", ""), ("second", "!")):
            sheet = book.add_worksheet(name)
            for i, row in enumerate([FRAME.columns, *FRAME.rows()]):
                sheet.write_row(i, 0, [row[0] + (shift if i else ""), row[1]])


def write_arrow_stream(path):
    table = FRAME.to_arrow()
    with pa.OSFile(str(path), "wb") as stream, pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)


WRITERS = {
    "a.csv": FRAME.write_csv,
    "a.tsv": lambda path: FRAME.write_csv(path, separator="\t"),
    "a.txt": lambda path: path.write_text("good;1\nb;0\n"),
    "a.json": lambda path: path.write_text(json.dumps(FRAME.to_dicts())),
    "columns.json": lambda path: path.write_text(json.dumps(FRAME.to_dict(as_series=False))),
    "a.jsonl": FRAME.write_ndjson,
    "a.ndjson": FRAME.write_ndjson,
    "a.parquet": FRAME.write_parquet,
    "a.arrow": FRAME.write_ipc,
    "a.feather": write_arrow_stream,
    "a.xlsx": write_excel,
    "a.csv.gz": lambda path: path.write_bytes(gzip.compress(FRAME.write_csv().encode())),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(FRAME.write_ndjson().encode())),
}


def read(tmp_path, content, name="a.jsonl", **options):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(Source(path=name, **options), base=tmp_path).frame


# Lines without a header look like CSV: their name, or `format`, says what they are.
@pytest.mark.parametrize(
    ("name", "hidden"), [*((name, False) for name in WRITERS), *((name, True) for name in WRITERS if name != "a.txt")]
)
def test_every_format_is_read_by_name_or_by_content_whole_and_in_batches(tmp_path, name, hidden):
    path = tmp_path / name
    WRITERS[name](path)
    if hidden:
        path = path.rename(tmp_path / "data.train")
    table = read_table(Source(path=path.name), base=tmp_path)
    expected = FRAME if name != "a.txt" else pl.DataFrame({"text": ["good", "b"], "label": ["1", "0"]})
    assert table.frame.equals(expected)
    assert table.name == path.name
    assert pl.concat(list(iter_tables(path, batch_rows=1))).equals(expected)


def test_every_listed_format_is_among_the_tested_files():
    suffixes = {"." + name.removesuffix(".gz").rsplit(".", 1)[1] for name in WRITERS}
    untested = [name for name, form in FORMATS.items() if not suffixes & set(form.suffixes)]
    assert untested == ["text", "folders"]  # tested with the files that are read line by line


def test_a_missing_file_names_the_nearest_and_a_directory_its_files(tmp_path):
    (tmp_path / "reviews.csv").write_text("text,label\na,1\n")
    with pytest.raises(DataError, match=r"review\.csv: no such file; did you mean 'reviews\.csv'\?"):
        read_table(Source(path="review.csv"), base=tmp_path)
    with pytest.raises(DataError, match=r"is a directory; name a file in it \(for example reviews\.csv\)"):
        read_table(Source(path=str(tmp_path)))


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith(".gz")])
def test_an_empty_file_is_an_error_in_every_format(tmp_path, name):
    with pytest.raises(DataError, match="empty"):
        read(tmp_path, "", name)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.xlsx", "a.json", "a.jsonl"])
def test_another_content_than_the_name_says_is_an_error_that_names_the_file(tmp_path, name):
    with pytest.raises(DataError, match=name):
        read(tmp_path, "text,label\na,1\n", name)


def test_an_unknown_suffix_and_content_lists_the_formats(tmp_path):
    with pytest.raises(DataError, match="set `format`: csv, tsv, lines"):
        read(tmp_path, "just words\n", "notes.xyz")


def test_a_guessed_encoding_warns_and_a_declared_one_does_not(tmp_path):
    content = json.dumps({"text": "这部电影很好看"}, ensure_ascii=False).encode("gb18030")
    with pytest.warns(AdjudgeWarning, match="read as gb18030, inferred"):
        frame = read(tmp_path, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, content, encoding="gb18030").equals(frame)
    assert frame["text"].to_list() == ["这部电影很好看"]


def test_json_lines_report_every_broken_line(tmp_path):
    with pytest.raises(
        DataError, match=r"2 rows cannot be read: line 2: Expecting value at column 6; line 4: a number"
    ):
        read(tmp_path, '{"a": 1}\n{"a": \n\n1\n{"a": 2}\n')


def test_json_of_another_shape_is_an_error(tmp_path):
    for content, message in [
        ("3", "found a number"),
        ("[]", "no rows"),
        ('[{"a": 1}, 2]', r"record 2: a number"),
        ('{"a": [1], "b": [1, 2]}', "unlike length"),
        ('[{"a": 1},', "line 1"),
    ]:
        with pytest.raises(DataError, match=message):
            read(tmp_path, content, "a.json")


def test_json_types_do_not_depend_on_which_rows_come_first(tmp_path):
    rows = [
        {"n": 1},
        {"n": 2.5, "s": "x"},
        {"s": 3, "b": True},
        {"l": [1]},
        {"l": [], "o": {"k": None}},
        {"o": {"k": 2}},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    batches = list(iter_tables(path, batch_rows=2))
    assert batches[0].schema == batches[1].schema == batches[2].schema
    frame = pl.concat(batches)
    assert frame["n"].to_list() == [1.0, 2.5, None, None, None, None]
    assert frame["s"].to_list() == [None, "x", "3", None, None, None]
    assert frame["l"].to_list() == [None, None, None, [1], [], None]
    assert frame["o"].struct.field("k").to_list() == [None, None, None, None, None, 2]


def test_half_a_character_in_a_json_escape_names_row_and_column(tmp_path):
    with pytest.raises(DataError, match="line 2: column 'text' holds half a character"):
        read(tmp_path, '{"text": "a"}\n{"text": "\\ud83d"}\n')


def test_an_unknown_excel_sheet_names_the_nearest(tmp_path):
    write_excel(tmp_path / "a.xlsx")
    assert read_table(Source(path="a.xlsx", sheet="second"), base=tmp_path).frame["text"][0] == "good!"
    with pytest.raises(DataError, match="did you mean 'second'"):
        read_table(Source(path="a.xlsx", sheet="secnd"), base=tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_streaming_keeps_order_and_bounded_memory(tmp_path, name):
    frame = pl.DataFrame({"text": [f"{i} " + "word " * 400 for i in range(5_000)]})
    path = tmp_path / name
    {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}[name](path)
    tracemalloc.start()
    rows = 0
    for batch in iter_tables(path, batch_rows=100):
        assert batch.height <= 100
        assert batch["text"][0].startswith(f"{rows} ")
        rows += batch.height
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 5_000
    assert peak < 5_000_000  # the texts are 10 MB


def test_a_broken_row_at_the_end_stops_a_stream_before_its_first_batch(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a,1\n" * 1000 + "a,1,2\n")
    with pytest.raises(DataError, match="line 1002"):
        next(iter_tables(path, batch_rows=10))
