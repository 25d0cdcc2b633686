"""Which columns hold labels, and how many a row has: what `adjudge init` proposes."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from adjudge.core.config import parse_scalar
from adjudge.core.problem import Problem
from adjudge.core.task import Task
from adjudge.data.label_columns import listed_labels, marked_columns, read_label_columns


def found(column: list[Any]) -> tuple[str, str | None, tuple[str, ...]]:
    made = read_label_columns(pl.DataFrame({"label": column}, strict=False), "label", "a.csv")
    assert bool(made.notes) == made.problem.multi
    return made.problem.kind, made.problem.separator, made.labels


@pytest.mark.parametrize(
    ("column", "separator", "labels"),
    [
        (["17,3", "17", "3", "17,3"], ",", ("17", "3")),
        (["a;b", "a", "b ; c", "c"], ";", ("a", "b", "c")),
        (["a|b", "b|c", "a|c"], "|", ("a", "b", "c")),
        (["a#b", "a", "b", None, ""], "#", ("a", "b")),
        ([["a", "b"], ["a"], []], "|", ("a", "b")),
        (["['a|b', 'c']", "['c']"], ";", ("a|b", "c")),
        (['{"choices": ["a", "b"]}', "a"], "|", ("a", "b")),
        ([{"a": 1, "b": 1}, {"a": 0, "b": 1}], "|", ("a", "b")),
    ],
)
def test_several_labels_in_a_row_are_seen(column, separator, labels):
    assert found(column) == ("multi_label", separator, labels)


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (["Toys, Games", "Books", "Toys, Games"], ("Books", "Toys, Games")),
        (["Albany, NY", "Boston, MA", "Buffalo, NY"], ("Albany, NY", "Boston, MA", "Buffalo, NY")),
        (["1,5", "2,5", "4,0"], ("1,5", "2,5", "4,0")),
        (["a|", "b"], ("a|", "b")),
        ([["a"], ["b"], []], ("a", "b")),
        ([{"a": 1, "b": 0}, {"a": 0, "b": 1}], ("a", "b")),
        ([1.0, 2.0, None], ("1", "2")),
    ],
)
def test_one_label_in_a_row_stays_one(column, labels):
    assert found(column) == ("single_label", None, labels)


def test_columns_of_marks_are_labels_together_and_few_of_them_are_none():
    frame = pl.DataFrame(
        {"a": [1, 0, 0], "b": [True, False, True], "c": ["0", "1", "0"], "d": [0, 1, 2], "e": [1, 1, 1]}
    )
    assert marked_columns(frame, ["a", "b", "c"]) == ("a", "b", "c")
    assert marked_columns(frame, ["a", "b"]) == ()
    assert marked_columns(frame, ["a", "b", "c", "d"]) == ()
    assert marked_columns(frame, ["a", "b", "e"]) == ()
    made = read_label_columns(frame, ["a", "b", "c"], "a.csv")
    assert (made.problem.kind, made.labels, made.cells) == ("multi_label", ("a", "b", "c"), ["a|b", "c", "b"])
    assert "choose with --label" in made.notes[0]
    single = read_label_columns(
        pl.DataFrame({"a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1]}), ["a", "b", "c"], "a.csv"
    )
    assert (single.problem.kind, single.cells) == ("single_label", ["a", "b", "c"])


def test_labels_that_look_alike_are_noted_with_their_difference():
    made = read_label_columns(pl.DataFrame({"label": ["neg", "neg\u200b", "pos"]}), "label", "a.csv")
    assert r'"neg", "neg\u200b": U+200B ZERO WIDTH SPACE at the end' in made.notes[0]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("17,3", Problem()),
        ("label", Problem(kind="multi_label")),
        (("yes", "a, b"), Problem(kind="multi_label", separator=";", none="(no label)")),
    ],
)
def test_the_lines_of_a_task_say_it_as_it_was_read(label, problem):
    from adjudge.data.label_columns import LabelColumns

    read = parse_scalar(LabelColumns(label, problem, [], ()).to_yaml())
    task = Task(name="t", **read)
    assert (task.label_columns, task.problem) == ([label] if isinstance(label, str) else list(label), problem)


def test_settings_and_vectors_that_stand_for_texts_are_no_labels():
    frame = pl.DataFrame({"vector": [[0.1] * 300, [0.2] * 300], "plain": ["a", "b"], "lists": [["a"], ["b", "c"]]})
    assert listed_labels(frame, "vector") == []
    assert listed_labels(frame, "plain") is None
    assert listed_labels(frame, "lists") == ["a", "b", "c"]
