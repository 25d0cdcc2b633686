"""Sheets as people fill them: titles, merged cells, empty rows, no header."""

from __future__ import annotations

import warnings

import pytest
import xlsxwriter

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.excel import title_above
from adjudge.data.readers import read_table


def write(path, rows, merged=(), at=(0, 0)):
    with xlsxwriter.Workbook(str(path)) as book:
        book.add_worksheet("first")
        sheet = book.add_worksheet("reviews & more")
        for i, row in enumerate(rows):
            sheet.write_row(at[0] + i, at[1], row)
        for area, value in merged:
            sheet.merge_range(area, value)


def read(path, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = read_table(Source(path=str(path), sheet="reviews & more", **options)).frame
    return frame, [str(one.message) for one in caught]


ROWS = [["text", "label", "n"], ["good", "pos", 1], ["bad", "neg", 2.5], ["fine", "pos", 3]]


def test_a_title_above_the_header_is_passed_over_and_said(tmp_path):
    write(tmp_path / "a.xlsx", [["Reviews of 2024"], [], *ROWS])
    frame, told = read(tmp_path / "a.xlsx")
    assert frame.rows() == [("good", "pos", 1.0), ("bad", "neg", 2.5), ("fine", "pos", 3.0)]
    assert "row 3 is taken as the header" in told[0]
    confirmed, told = read(tmp_path / "a.xlsx", header=3)
    assert confirmed.equals(frame)
    assert not told
    assert title_above(tmp_path / "a.xlsx", Source(path="a", sheet="reviews & more")) == 3
    with pytest.raises(DataError, match="nothing in that row"):
        read(tmp_path / "a.xlsx", header=2)


@pytest.mark.parametrize("at", [(0, 0), (2, 3)])
def test_a_cell_that_is_merged_over_rows_holds_for_each_of_them(tmp_path, at):
    column = chr(ord("A") + at[1] + 1)
    top = at[0] + 2
    rows = [["text", "label"], ["good"], ["fine"], ["nice"], ["bad"], ["dull"]]
    merged = [(f"{column}{top}:{column}{top + 2}", "pos"), (f"{column}{top + 3}:{column}{top + 4}", "neg")]
    write(tmp_path / "a.xlsx", rows, merged, at)
    frame, told = read(tmp_path / "a.xlsx")
    labels = ["pos", "pos", "pos", "neg", "neg"]
    assert frame.rows() == list(zip(["good", "fine", "nice", "bad", "dull"], labels, strict=True))
    assert "2 merged cells" in told[0]


def test_rows_with_nothing_in_them_are_no_rows_and_empty_cells_stay(tmp_path):
    write(tmp_path / "a.xlsx", [ROWS[0], ROWS[1], [], ["only text"], []])
    assert read(tmp_path / "a.xlsx")[0].rows() == [("good", "pos", 1.0), ("only text", None, None)]
    write(tmp_path / "b.xlsx", [["text"], ["a"], [], ["b"]])
    assert read(tmp_path / "b.xlsx")[0]["text"].to_list() == ["a", None, "b"]


def test_names_are_checked_and_numbered_as_in_every_file(tmp_path):
    write(tmp_path / "a.xlsx", [["text", "", "x"], ["a", "b", "c"]])
    assert read(tmp_path / "a.xlsx")[0].columns == ["text", "column_2", "x"]
    assert read(tmp_path / "a.xlsx", header=False)[0].columns == ["column_1", "column_2", "column_3"]
    write(tmp_path / "b.xlsx", [["text", "text"], ["a", "b"]])
    with pytest.raises(DataError, match="repeats 'text'"):
        read(tmp_path / "b.xlsx")


def test_a_column_that_turns_to_text_after_a_thousand_rows_loses_nothing(tmp_path):
    write(tmp_path / "a.xlsx", [["text", "code"], *([f"t{i}", i] for i in range(1500)), ["last", "x7"]])
    assert read(tmp_path / "a.xlsx")[0]["code"][-1] == "x7"


def test_a_workbook_under_another_name_is_known_and_an_archive_is_none(tmp_path):
    import zipfile

    write(tmp_path / "a.csv", ROWS)
    assert read(tmp_path / "a.csv")[0].height == 3
    with zipfile.ZipFile(tmp_path / "b.csv", "w") as archive:
        archive.writestr("b.csv", "text\na\n")
    with pytest.raises(DataError, match="ZIP archive; unpack it"):
        read(tmp_path / "b.csv")
