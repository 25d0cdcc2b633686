"""JSON of every shape that programs write: which rows come of it, and what is refused."""

from __future__ import annotations

import json
import warnings

import pytest

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Source
from adjudge.data.readers import iter_tables, read_table

RECORDS = [{"text": "good film", "label": "pos"}, {"text": "bad\u2028film", "label": "neg"}]
ROWS = [("good film", "pos"), ("bad\u2028film", "neg")]
LINES = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
PRETTY = "\n".join(json.dumps(record, indent=2) for record in RECORDS)


def read(tmp_path, content, name="a.json", **options):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = read_table(Source(path=name, **options), base=tmp_path, role=options.pop("role", "train"))
    return table.frame, [str(one.message) for one in caught if issubclass(one.category, AdjudgeWarning)]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "a.txt", "a.csv", "data"])
@pytest.mark.parametrize(
    "content",
    [LINES, f"\n{LINES}\n\n", f"\ufeff{LINES}".replace("\n", "\n\ufeff"), PRETTY, json.dumps(RECORDS, indent=1)],
    ids=["lines", "blank lines", "marks", "objects one after another", "list"],
)
def test_json_is_known_by_its_content_whatever_the_file_is_called(tmp_path, name, content):
    frame, told = read(tmp_path, content, name)
    assert (frame.rows(), frame.columns, told) == (ROWS, ["text", "label"], [])


SHAPES = {
    "list": RECORDS,
    "columns": {"text": [row[0] for row in ROWS], "label": [row[1] for row in ROWS]},
    "split": {"columns": ["text", "label"], "index": [0, 1], "data": [list(row) for row in ROWS]},
    "index": {"0": RECORDS[0], "1": RECORDS[1]},
    "pandas columns": {"text": {"0": "good film", "1": "bad\u2028film"}, "label": {"0": "pos", "1": "neg"}},
    "under a key": {"version": "1", "data": RECORDS},
    "deeper": {"nlu": {"examples": RECORDS, "synonyms": []}},
    "sheet": [["text", "label"], *map(list, ROWS)],
    "splits": {"train": RECORDS, "test": RECORDS[:1]},
    "one split": {"train": RECORDS},
}


@pytest.mark.parametrize("value", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_its_rows(tmp_path, value):
    frame, _ = read(tmp_path, json.dumps(value))
    assert (frame.rows(), frame.columns) == (ROWS, ["text", "label"])


def test_rows_without_names_texts_alone_one_record_and_keys_that_say_something(tmp_path):
    frame, _ = read(tmp_path, json.dumps([list(row) for row in ROWS]))
    assert (frame.rows(), frame.columns) == (ROWS, ["column_1", "column_2"])
    assert read(tmp_path, '["good", "bad"]')[0].to_dicts() == [{"text": "good"}, {"text": "bad"}]
    assert read(tmp_path, json.dumps(RECORDS[0]))[0].rows() == ROWS[:1]
    keyed = {"a7": RECORDS[0], "b9": RECORDS[1], "c1": RECORDS[0]}
    assert read(tmp_path, json.dumps(keyed))[0]["index"].to_list() == ["a7", "b9", "c1"]
    frame, _ = read(tmp_path, '["good", "pos"]\n["bad", "neg"]\n', "a.jsonl")
    assert frame.rows() == [("good", "pos"), ("bad", "neg")]


def test_pandas_reads_back_as_pandas_wrote(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(RECORDS)
    for orient in ("records", "split", "index", "columns", "values", "table"):
        frame.to_json(tmp_path / "a.json", orient=orient)
        found = read_table(Source(path="a.json"), base=tmp_path).frame
        names = ["column_1", "column_2"] if orient == "values" else ["text", "label"]
        assert found.select(names).rows() == ROWS, orient


def test_splits_are_chosen_by_role_or_by_name(tmp_path):
    content = json.dumps({"train": [["a", "x"]], "val": [["b", "y"]], "oos_val": [["c", "z"]]})
    (tmp_path / "a.json").write_text(content)
    for role, text in (("train", "a"), ("validation", "b")):
        assert read_table(Source(path="a.json"), base=tmp_path, role=role).frame.rows()[0][0] == text
    assert read(tmp_path, content, split="oos_val")[0].rows() == [("c", "z")]
    with pytest.raises(DataError, match=r"no split 'vla'.*did you mean 'val'"):
        read(tmp_path, content, split="vla")
    with pytest.raises(DataError, match="holds 3 splits and none is asked for"):
        list(iter_tables(tmp_path / "a.json"))
    with pytest.raises(DataError, match="has no splits by name"):
        read(tmp_path, json.dumps(RECORDS), split="train")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a", "label": "x", "text": "b"}', "the key 'text' is given twice"),
        ('{"text": "a", "n": %s}' % ("9" * 5000), "Exceeds the limit"),
        ('{"text": "a", "n": %s}' % ("[" * 5000 + "]" * 5000), "nested too deeply"),
        ('{"text": "a", "n": %s}' % ("[" * 99 + "]" * 99), "nested more than 64 levels"),
        ('{"text": "\\ud83d"}', "column 'text' holds half a character"),
        ('{"text": "a"', "Expecting"),
        ("7", "a number"),
        ("[1]", "a list of 1 values"),
        ('"a"', "a string"),
    ],
)
def test_a_line_that_is_no_row_is_named_and_may_be_left_out(tmp_path, line, problem):
    content = f"{LINES}\n{line}\n"
    with pytest.raises(DataError, match=f"1 row cannot be read: line 3: .*{problem}"):
        read(tmp_path, content, "a.jsonl")
    frame, told = read(tmp_path, content, "a.jsonl", skip_bad_rows=1)
    assert frame.rows() == ROWS
    assert problem in told[0]


def test_a_broken_first_line_is_a_bad_row_of_json_lines(tmp_path):
    frame, _ = read(tmp_path, '{"text": "a", "lab\n' + LINES, "a.jsonl", skip_bad_rows=1)
    assert frame.rows() == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a", "text": "b"}]', "the key 'text' is given twice"),
        ('{"a": {"x": 1}, "b": {"y": 2}}', "cannot be told apart"),
        ('{"text": "a"} and more', "not valid JSON: Expecting value: line 1 column 15"),
        ("[{}]", "no rows with a column"),
        ('{"a": []}', "no rows"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_whole_numbers_and_fractions_share_a_type_inside_lists_and_objects_too(tmp_path):
    frame, _ = read(tmp_path, '[{"a": {"n": [1, 2.5, null]}}]')
    assert frame["a"].to_list() == [{"n": [1.0, 2.5, None]}]
