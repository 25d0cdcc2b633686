"""Lines to records, against the csv module of Python."""

from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.data.files.records import MOST_LINES, NOT_CLOSED, STRAY, Dialect, Record, read_records


def records(content, **options):
    return list(read_records(io.StringIO(content, newline=""), Dialect(**options)))


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('ab,"\n\r\t ;'), max_size=14))
def test_what_the_csv_module_reads_is_read_as_there(content):
    try:
        expected = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]
    except csv.Error:
        return
    # The spaces after a closing quote are the one thing that is taken here and refused there.
    found = [record.cells for record in records(content) if record.cells]
    assert found == [
        row for row in expected if not (len(row) == 1 and row[0].isspace() and f'"{row[0]}"' not in content)
    ]


def test_a_broken_record_is_one_line_and_the_next_begins_below_it():
    found = records('"st"ray,1\n"never, closed\nb,2\n')
    assert found == [Record(1, 1, [], STRAY), Record(2, 2, [], NOT_CLOSED), Record(3, 3, ["b", "2"])]


def test_a_record_of_several_lines_keeps_them_and_counts_them():
    (record,) = records('a,"b\r\nc"\r\n')
    assert (record.first, record.last, record.cells) == (1, 2, ["a", "b\r\nc"])
    assert record.lines == ('a,"b\r\n', 'c"\r\n')


def test_comments_are_passed_over_outside_of_quotes():
    found = records('# a\nb,"c\n# d"\n# e\n', comment="#")
    assert [(record.first, record.cells) for record in found] == [(2, ["b", "c\n# d"])]


def test_an_escape_keeps_quotes_delimiters_and_line_breaks_in_a_cell_and_is_kept_before_others():
    assert records('"a \\" \\n",b\\,c\\\nd\\\\\n', escape="\\")[0].cells == ['a " \\n', "b,c\nd\\"]
    assert records("a\\", escape="\\")[0].cells == ["a\\"]


def test_a_quote_that_is_never_closed_does_not_swallow_a_long_file():
    lines = ['"open\n', *["a,b\n"] * (MOST_LINES + 10)]
    found = list(read_records(lines, Dialect()))
    assert found[0].problem == NOT_CLOSED
    assert len(found) == len(lines)
