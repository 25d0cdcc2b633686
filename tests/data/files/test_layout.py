"""How delimited files of people are written, and what is read of them: rows, column names, warnings."""

from __future__ import annotations

import warnings

import pytest

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Source
from adjudge.data.readers import iter_tables, read_table

PAIR = [("good film", "pos"), ("bad film", "neg")]
LINES = "good film,pos\nbad film,neg\n"


def read(tmp_path, content, name="a.csv", **options):
    """The frame, and the warnings."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = read_table(Source(path=name, **options), base=tmp_path).frame
    return frame, [str(one.message) for one in caught if issubclass(one.category, AdjudgeWarning)]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (f"\ufefftext,label\n{LINES}", {}),
        (f"\ufeff\ufefftext,label\n{LINES}", {}),
        (f"text,label\n{LINES}".encode("utf-16"), {}),
        (f"text,label\r\n{LINES}".encode(), {}),
        (f"text,label\n{LINES}".replace("\n", "\r"), {}),
        (f"text,label\n{LINES}".replace("\n", "\r") + "\n", {}),
        (f"text,label\n{LINES}".replace("\n", "\r\r\n"), {}),
        (f"text,label\n{LINES}".rstrip(), {}),
        (f"\n\ntext,label\n   \n{LINES}\n\n", {}),
        ("text,label\ngood film,pos,\nbad film,neg,,\n", {}),
        (f"sep=,\ntext,label\n{LINES}", {}),
        ('\ufeff"sep=;"\r\ntext;label\r\ngood film;pos\r\nbad film;neg\r\n', {}),
        ("sep=^\ntext^label\ngood film^pos\nbad film^neg\n", {}),
        ('"text", "label"\n"good film", "pos"\n"bad film", "neg"\n', {}),
        ('text, label\n"good film", "pos"\n"bad film" , "neg"\n', {}),
        (f"# made by hand, twice\ntext,label\n# half, way\n{LINES}", {"comment": "#"}),
        (f"Reviews, all of 2024\n\ntext,label\n{LINES}", {"header": 3}),
        ("text^label\ngood film^pos\nbad film^neg\n", {"delimiter": "^"}),
    ],
)
def test_marks_line_ends_blank_lines_and_separator_lines_change_nothing(tmp_path, content, options):
    frame, told = read(tmp_path, content, **options)
    assert (frame.rows(), frame.columns, told) == (PAIR, ["text", "label"], [])


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "data"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_the_delimiter_is_found_whatever_the_file_is_called(tmp_path, name, delimiter):
    frame, told = read(tmp_path, f"text,label\n{LINES}".replace(",", delimiter), name)
    assert (frame.rows(), frame.columns, told) == (PAIR, ["text", "label"], [])


STRAY = ["The film\tneg", '"The room\tneg', "A day\tpos", 'A day out"\tpos', "The end\tneg"]


@pytest.mark.parametrize(
    "rows",
    [
        STRAY,
        [*STRAY, '"Never closed\tpos'],
        ['"A word" in quotes\tneg', "The end\tpos"],
        ['say "hi"\tpos', '"say it\tneg', 'said"\tpos'],
    ],
)
def test_a_file_without_quoting_keeps_a_row_for_each_line_and_says_so(tmp_path, rows):
    frame, told = read(tmp_path, "\n".join(["sentence\tlabel", *rows]), "a.tsv")
    assert frame.rows() == [tuple(row.split("\t")) for row in rows]
    assert "double quotes are read as characters: so lines have 2 cells each" in told[0]
    confirmed, told = read(tmp_path, "\n".join(["sentence\tlabel", *rows]), "a.tsv", quoting="none")
    assert confirmed.equals(frame)
    assert not told


def test_after_a_comma_lines_are_rows_where_a_column_of_few_values_says_so(tmp_path):
    lines = ['"good film,pos', "bad film,neg", 'a film",pos', "awful,neg", "fine,pos", "nice,pos", "dull,neg"]
    frame, told = read(tmp_path, "\n".join(["text,label", *lines]))
    assert frame.rows() == [tuple(line.split(",")) for line in lines]
    assert "quotes are read as characters" in told[0]


@pytest.mark.parametrize(
    "cells",
    [
        [("first line\nsecond line", "pos"), ("plain", "neg")],
        [("Dear Sir,\nit came late.", "neg"), ("Dear all,\nfine", "pos")],
        [("Hello, world\nagain", "pos"), *([("fine", "neg"), ("ok", "pos")] * 3)],
        [("well,none\nof it", "pos"), *([("fine", "neg"), ("ok", "pos")] * 3)],
    ],
)
def test_quoted_cells_of_several_lines_stay_one_cell(tmp_path, cells):
    content = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in cells)
    frame, told = read(tmp_path, content)
    assert frame.rows() == cells
    assert not told


def test_where_quotes_join_lines_and_hold_others_together_the_lines_are_named(tmp_path):
    rows = "".join(f"film {i},{label}\n" for i, label in enumerate(["pos", "neg"] * 3))
    content = f'text,label\n"well, quoted",pos\n"good film,pos\nbad film,neg\na film",pos\n{rows}'
    frame, told = read(tmp_path, content)
    assert frame.height == 8
    assert "1 cell spans lines that could be rows of their own: lines 3–5" in told[0]
    assert read(tmp_path, content, quoting="standard")[1] == []
    with pytest.raises(DataError, match="lines 3–5"):
        list(iter_tables(tmp_path / "a.csv", strict=True))


def test_quotes_in_the_header_mean_that_quotes_hold_cells_together(tmp_path):
    frame, _ = read(tmp_path, '"text"\t"label"\n"a\tb\nc"\t"x"\n', "a.tsv")
    assert frame.rows() == [("a\tb\nc", "x")]


def test_backslashes_before_quotes_are_found_and_other_backslashes_stay(tmp_path):
    frame, told = read(tmp_path, 'text,label\n"He said \\"hi\\", C:\\new",pos\n"bad, film",neg\n')
    assert frame.rows() == [('He said "hi", C:\\new', "pos"), ("bad, film", "neg")]
    assert "backslash" in told[0]
    frame, told = read(tmp_path, "text\tlabel\na\\\tb\tpos\nc\\\nd\tneg\n", "a.tsv", escape="\\", quoting="none")
    assert (frame.rows(), told) == ([("a\tb", "pos"), ("c\nd", "neg")], [])


@pytest.mark.parametrize(
    ("above", "line"),
    [("Customer reviews 2024\n\n", 3), ("Customer reviews 2024,\n", 2), ("# exported by a tool\nversion 2\n", 3)],
)
def test_a_title_above_the_header_is_passed_over_with_a_warning(tmp_path, above, line):
    content = f"{above}Comment,Kind\n{LINES}fine film,pos\n"
    frame, told = read(tmp_path, content)
    assert frame.columns == ["Comment", "Kind"]
    assert frame.rows() == [*PAIR, ("fine film", "pos")]
    assert f"line {line} is taken as the header" in told[0]
    assert read(tmp_path, content, header=line)[1] == []


def test_row_numbers_without_a_name_get_one(tmp_path):
    for content in (
        ",text,label\n0,good film,pos\n1,bad film,neg\n",
        "text,label\n0,good film,pos\n1,bad film,neg\n",
    ):
        frame, told = read(tmp_path, content)
        assert frame.columns == ["column_1", "text", "label"]
        assert frame.rows() == [("0", *PAIR[0]), ("1", *PAIR[1])]
        assert not told


def test_a_lone_carriage_return_in_a_text_is_a_character_where_lines_end_otherwise(tmp_path):
    assert read(tmp_path, "text,label\ngood\rfilm,pos\nbad film,neg\n")[0].rows() == [("good\rfilm", "pos"), PAIR[1]]


def test_of_one_column_commas_are_text_and_blank_lines_are_rows(tmp_path):
    frame, told = read(tmp_path, 'text\ngood, really\n\n"in, quotes"\nbad\n')
    assert (frame["text"].to_list(), told) == (["good, really", "", "in, quotes", "bad"], [])
    frame, told = read(tmp_path, 'text\n"two\nlines"\nbad\n')
    assert frame["text"].to_list() == ["two\nlines", "bad"]
    assert "lines 2–3" in told[0]


def test_a_header_in_the_middle_is_a_bad_row_and_so_is_a_wrong_width(tmp_path):
    content = f"text,label\n{LINES}text,label\na,b,c\n"
    with pytest.raises(DataError, match=r"2 rows cannot be read .*line 4: repeats the header; line 5: 3 cells"):
        read(tmp_path, content)
    with pytest.raises(DataError, match="at most 1 may be left out"):
        read(tmp_path, content, skip_bad_rows=1)
    frame, told = read(tmp_path, content, skip_bad_rows=2)
    assert frame.rows() == PAIR
    assert "2 rows that cannot be read are left out: line 4: repeats the header; line 5" in told[0]


@pytest.mark.parametrize(("damage", "problem"), [(b"b\0d", "NUL byte"), (b"b\xe2\x82d", "byte 0xE2")])
def test_damaged_characters_cost_their_row_alone_where_that_is_allowed(tmp_path, damage, problem):
    content = b"text,label\ngood film,pos\n" + damage + b",neg\nbad film,neg\n"
    with pytest.raises(DataError, match=problem):
        read(tmp_path, content)
    frame, told = read(tmp_path, content, skip_bad_rows=1)
    assert frame.rows() == PAIR
    assert problem in told[0]
    assert "line 3" in told[0]


def test_a_broken_header_is_never_left_out(tmp_path):
    with pytest.raises(DataError, match="the header cannot be read: line 1: a quote"):
        read(tmp_path, f'"text" x,y",label\n{LINES}', skip_bad_rows=9, quoting="standard")
