"""A label cell becomes the labels that it holds, or an error with its rows; never a class called ``['joy']``."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from adjudge.core.errors import DataError
from adjudge.core.task import Task
from adjudge.data.rows import build_split

SEVERAL: dict[str, Any] = {"problem": "multi_label"}


def labels(column: list[Any], **task: Any) -> list[str | None]:
    return from_columns({"label": column}, **task)


def from_columns(columns: dict[str, list[Any]], **task: Any) -> list[str | None]:
    height = len(next(iter(columns.values())))
    frame = pl.DataFrame({"text": [f"text {i}" for i in range(height)], **columns}, strict=False)
    return list(build_split(Task(name="t", **task), frame, "train", "a.csv").labels)


@pytest.mark.parametrize(
    "column",
    [
        ["['joy', 'love']", "['joy']", "[]", None, ""],
        ['["joy", "love"]', '["joy"]', "[]", None, " "],
        ["['joy' 'love']", "['joy']", "[]", "[nan]", None],
        ["[joy, love]", "[joy]", "[]", None, ""],
        ["{joy,love}", "{joy}", "{}", None, ""],
        [["joy", "love"], ["joy"], [], None, [None]],
        ['{"choices": ["joy", "love"]}', "joy", "(none)", None, ""],
        ["{'joy': 1, 'love': 0.9, 'fear': 0.5}", "{'joy': True}", "{'joy': 0}", None, ""],
        ['[{"label": "joy", "score": 0.8}, {"label": "love", "score": 0.6}]', "['joy']", "[]", None, ""],
    ],
)
def test_lists_and_scores_of_any_form_are_sets_of_labels(column):
    assert labels(column, **SEVERAL) == ["joy|love", "joy", "(none)", None, None]


@pytest.mark.parametrize(
    "column",
    [
        ["['pos']", "['neg']", "[]"],
        [["pos"], ["neg"], []],
        [{"pos": 1.0, "neg": 0.0}, {"pos": 0.2, "neg": 0.8}, {"pos": 0.5, "neg": 0.5}],
        [[{"label": "pos", "score": 0.9}, {"label": "neg", "score": 0.1}], [{"label": "neg", "score": 1.0}], []],
        [[{"value": "pos", "status": "submitted"}, {"value": "neg", "status": "discarded"}], [{"value": "neg"}], []],
        ['{"choices": ["pos"]}', "neg", ""],
        ["[pos]", "[neg]", "[]"],
    ],
)
def test_a_list_of_one_is_the_label_of_a_task_with_one(column):
    assert labels(column) == ["pos", "neg", None]


def test_several_labels_where_a_text_has_one_are_an_error_with_all_rows():
    with pytest.raises(DataError) as caught:
        labels(["['a', 'b']", "a", "['a', 'c']", *["['b', 'c']"] * 12])
    (problem,) = caught.value.problems
    assert problem.startswith("a.csv: column 'label' holds several labels for a text ('a', 'b')")
    assert "problem: multi_label" in problem
    assert problem.endswith("rows 1, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 4 more")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("['joy', 'lo", "what begins as a list or an object and cannot be read as one"),
        ('[[0, 5, "PER"]]', "lists inside a list"),
        ('[{"start": 0, "end": 3, "label": "A"}]', "a span of the text"),
        ('{"pos": 3, "neg": 1}', "numbers that are no scores from 0 to 1 ('pos': 3)"),
        ('{"who": "me"}', "an object of 'who', none of which names a label"),
        ('{"label": "a", "colour": "red"}', "an object of 'label', 'colour'; name one of its fields"),
    ],
)
@pytest.mark.parametrize("task", [{}, SEVERAL])
def test_structures_that_say_nothing_of_labels_are_refused(cell, said, task):
    with pytest.raises(DataError) as caught:
        labels(["a", cell, "b"], **task)
    assert f"a.csv: column 'label' holds {said}" in caught.value.problems[0]
    assert caught.value.problems[0].endswith("; row 2")


@pytest.mark.parametrize("column", [[[0, 1, 1], [1, 0, 0]], ["[0 1 1]", "[1 0 0]"], ["[0.1, 0.9]", "[0.5, 0.5]"]])
def test_vectors_without_names_are_refused(column):
    with pytest.raises(DataError, match=r"numbers from 0 to 1 in each row.*`label: \[first, second"):
        labels(column, **SEVERAL)
    assert labels(["[0 1]", "[1]", "[2]"], **SEVERAL) == ["0|1", "1", "2"]


def test_words_in_brackets_stay_words_where_others_have_none_or_the_task_names_them():
    assert labels(["[joy]", "fear"]) == ["[joy]", "fear"]
    assert labels(["[a]", "[b]"], labels=["[a]", "[b]"]) == ["[a]", "[b]"]
    assert labels(["(none)", "(other, more)"]) == ["(none)", "(other, more)"]


def test_a_column_for_each_label_is_a_set_of_its_names():
    toxic, insult = [1, 0, 1, -1], [1, 0, 0, -1]
    columns = {"toxic": toxic, "insult": insult}
    assert from_columns(columns, label=["toxic", "insult"], **SEVERAL) == ["insult|toxic", "(none)", "toxic", None]
    with pytest.raises(DataError, match=r"several labels for a text \('toxic', 'insult'\)"):
        from_columns(columns, label=["toxic", "insult"])
    assert from_columns({"a": [True, False, False], "b": [False, True, False]}, label=["a", "b"]) == ["a", "b", None]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["1", "0"], ["0.0", "1.0"]),
        (["x", ""], [None, "X"]),
        (["yes", "no"], ["No", "Yes"]),
        ([0.51, 0.0], [0.5, 1.0]),
    ],
)
def test_marks_are_written_in_many_ways(first, second):
    assert from_columns({"a": first, "b": second}, label=["a", "b"]) == ["a", "b"]


def test_marks_that_are_none_and_rows_half_filled_are_named():
    columns = {"a": ["1", "0", "0", "maybe"], "b": ["0", None, "7", "1"]}
    with pytest.raises(DataError) as caught:
        from_columns(columns, label=["a", "b"], **SEVERAL)
    assert [problem.partition("; row")[0] for problem in caught.value.problems] == [
        "a.csv column 'b' is empty and others are not",
        "a.csv column 'b' holds '7', which is neither 0 nor 1",
        "a.csv column 'a' holds 'maybe', which is neither 0 nor 1",
    ]
    with pytest.raises(DataError, match=r"no column 'c'.*\n.*no column 'd'"):
        from_columns(columns, label=["a", "c", "d"], **SEVERAL)


def test_labels_are_mapped_wherever_they_stand():
    assert labels(["-1", "0", "1"], label_map={-1: None, 0: "ham", 1: "spam"}) == [None, "ham", "spam"]
    mapped = {"not-spam": "not_spam", "Not Spam": "not_spam", "-": None}
    assert labels(["not-spam", "Not Spam", "spam", "-"], label_map=mapped) == ["not_spam", "not_spam", "spam", None]
    assert labels(["a|b", "['b']", "c"], label_map={"b": "B", "c": None}, **SEVERAL) == ["B|a", "B", None]
    assert from_columns({"a": [1, 0], "b": [0, 1]}, label=["a", "b"], label_map={"b": "Bee"}) == ["a", "Bee"]
    assert labels(["x > y"], problem="hierarchical", label_map={"x > y": "x > z"}) == ["x > z"]


def test_lists_are_paths_where_labels_are_a_tree():
    column = ['["Science", "Physics"]', "Art", '{"taxonomy": [["Science", "Chemistry"]]}', "[]"]
    assert labels(column, problem="hierarchical") == ["Science > Physics", "Art", "Science > Chemistry", None]
    with pytest.raises(DataError, match="several labels"):
        labels(['{"taxonomy": [["a", "b"], ["c"]]}'], problem="hierarchical")


def test_rows_that_people_rejected_are_not_taken_for_labelled_ones():
    frame = {"label": ["a", "b", "a"], "answer": ["accept", "reject", "ignore"], "_task_hash": [1, 2, 3]}
    with pytest.raises(DataError, match=r"export of Prodigy, and 2 of 3 rows .* adjudge import a.csv"):
        from_columns(frame)
    assert from_columns({**frame, "answer": ["accept"] * 3}) == ["a", "b", "a"]
    assert from_columns(frame, label="answer") == ["accept", "reject", "ignore"]
    assert from_columns({"label": ["a", "b"], "answer": ["accept", "reject"]}) == ["a", "b"]
