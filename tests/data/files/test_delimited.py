import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.readers import read_table

# Everything that UTF-8 can hold; NUL is refused by design.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30) | st.sampled_from(
    ['"', '""', ",", 'a"b', "a\nb", "a\r\nb", "\r", " x ", ";", "\t", "|", "\u2028", "\x85", "\ufeff"]
)


def read(tmp_path, content, name="a.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(Source(path=name, **options), base=tmp_path).frame


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_written_as_csv_comes_back(rows, delimiter, line_end):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(
        [("text", "label"), *rows]
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.csv").write_bytes(buffer.getvalue().encode())
        frame = read_table(Source(path="a.csv"), base=Path(folder)).frame
    assert frame.rows() == rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_although_others_occur_in_the_texts(tmp_path, delimiter):
    rows = [("text", "label"), ("a, b; c", "x"), ("1|2\t3, 4", "y"), ("two\nlines; three", "x")]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    assert read(tmp_path, buffer.getvalue()).rows() == rows[1:]


def test_cells_stay_as_written(tmp_path):
    frame = read(tmp_path, "id,text,label\n007, 1.0 ,NA\n008,,null\n")
    assert frame.rows() == [("007", " 1.0 ", "NA"), ("008", "", "null")]


def test_a_quote_inside_an_unquoted_cell_is_a_character(tmp_path):
    assert read(tmp_path, 'text,label\nsay "hi" now,1\n').rows() == [('say "hi" now', "1")]


def test_ragged_rows_are_an_error_with_the_first_ten_lines_and_the_count(tmp_path):
    lines = ["text,label", '"two\nlines",a'] + ["b,c,d"] * 12 + ["e"]
    with pytest.raises(DataError) as caught:
        read(tmp_path, "\n".join(lines))
    message = str(caught.value)
    assert "13 rows cannot be read as 2 cells (text, label): line 4: 3 cells instead of 2; line 5" in message
    assert "line 13: 3 cells instead of 2; …" in message
    assert "line 14" not in message
    assert "skip_bad_rows: 13" in message


@pytest.mark.parametrize(
    ("record", "problem"),
    [('"never, closed,a\nmore,b\n', "a quote that is not closed"), ('"closed", and more,a\n', "3 cells instead of 2")],
)
def test_a_stray_or_unclosed_quote_is_an_error_with_the_line_where_it_begins(tmp_path, record, problem):
    with pytest.raises(DataError, match=f"1 row cannot be read as 2 cells.*: line 3: {problem}"):
        read(tmp_path, "text,label\nfine,a\n" + record)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("text,label\n", "header only"),
        ("text,label,text\na,b,c\n", "repeats 'text'"),
    ],
)
def test_a_file_without_rows_or_with_repeated_names_is_an_error(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_without_a_header_columns_are_numbered(tmp_path):
    frame = read(tmp_path, "good,1\nbad,0\n", header=False)
    assert frame.to_dict(as_series=False) == {"column_1": ["good", "bad"], "column_2": ["1", "0"]}


def test_a_text_of_ten_megabytes_is_no_error(tmp_path):
    long = "word " * 2_000_000
    assert read(tmp_path, f"text,label\n{long},a\n")["text"].to_list() == [long]


def test_lines_are_split_at_the_last_delimiter(tmp_path):
    frame = read(tmp_path, "a;b;joy\r\n\r\nplain;sadness\n;anger\n", "a.txt")
    assert frame.rows() == [("a;b", "joy"), ("plain", "sadness"), ("", "anger")]
    assert read(tmp_path, "a|joy\n", "a.txt", delimiter="|").rows() == [("a", "joy")]


def test_lines_without_the_delimiter_are_an_error_with_their_numbers(tmp_path):
    message = r"2 rows cannot be read as lines `text;label`: line 2: 'b' is written otherwise; line 4: 'd' is"
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a;joy\nb\nc;joy\nd\n", "a.txt")


def test_a_pattern_cuts_lines_into_its_named_groups(tmp_path):
    pattern = r"(?P<label>\w+):(?P<fine>\w+)? (?P<text>.*)"
    frame = read(tmp_path, "NUM:dist How far ?\nHUM: Who : me ?\n", "a.txt", format="lines", pattern=pattern)
    assert frame.to_dicts() == [
        {"label": "NUM", "fine": "dist", "text": "How far ?"},
        {"label": "HUM", "fine": "", "text": "Who : me ?"},
    ]
    with pytest.raises(DataError, match=r"1 row cannot be read as lines `\(\?P<label>.*: line 2: 'none' is written"):
        read(tmp_path, "NUM:dist How far ?\nnone\n", "a.txt", format="lines", pattern=pattern)
