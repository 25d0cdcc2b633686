"""The kind of problem: stated in the task, written in one cell, and no part of a hash where it is the usual one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from adjudge.core.hashing import hash_json
from adjudge.core.problem import SINGLE, Problem, problem_of
from adjudge.core.task import Task, load_task

SEVERAL = Problem(kind="multi_label")
TREE = Problem(kind="hierarchical")


def test_a_word_is_the_kind_and_brings_its_separator():
    assert Task(name="t", problem="multi_label").problem == Problem(kind="multi_label", separator="|", none="(none)")
    assert Task(name="t", problem="hierarchical").problem.separator == " > "
    assert Task(name="t").problem.single


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "single_label", "separator": ","}, "`separator` means nothing"),
        ({"kind": "hierarchical", "none": "-"}, "`none` means nothing"),
        ({"kind": "multi_label", "none": "a|b"}, "must not hold the separator"),
        ("several", "single_label"),
    ],
)
def test_options_that_make_no_sense_are_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Problem.model_validate(given)


def test_the_usual_problem_is_in_no_dump_and_no_hash():
    task = Task(name="t", labels=["a", "b"])
    assert "problem" not in task.model_dump(mode="json")
    assert task.hash() == hash_json(task.model_dump(mode="json", exclude={"data", "description"}))
    assert Task(name="t", labels=["a", "b"], problem="multi_label").hash() != task.hash()


def test_a_dumped_task_is_read_back(tmp_path: Path):
    task = Task(name="t", labels=["a", "b"], problem={"kind": "multi_label", "separator": ";", "none": "-"})
    assert Task.model_validate(task.model_dump(mode="json")) == task
    (tmp_path / "t.yaml").write_text("name: t\nproblem: {kind: multi_label, separator: ';', none: '-'}\n")
    assert load_task(tmp_path / "t.yaml").problem == task.problem


def test_equal_sets_are_equal_cells():
    assert SEVERAL.split(" b|a | b||") == ("a", "b")
    assert SEVERAL.canonical("b|a|b") == SEVERAL.canonical(" a | b ") == "a|b"
    assert SEVERAL.split("(none)") == ()
    assert SEVERAL.join([]) == "(none)"
    assert SEVERAL.canonical(" | ") == ""
    assert SINGLE.split("a|b") == ("a|b",)


def test_a_path_has_one_form():
    assert TREE.path("Goods > Food") == ("Goods", "Food")
    assert TREE.canonical(" Goods >  Food ") == "Goods > Food"
    assert TREE.split("Goods > Food") == ("Goods > Food",)


def test_the_indicator_holds_the_labels_of_the_set():
    found = SEVERAL.indicator(["b|a", "(none)", "c|x"], ["c", "a", "b"])
    np.testing.assert_array_equal(found, [[0, 1, 1], [0, 0, 0], [1, 0, 0]])


def test_labels_that_cannot_be_told_apart_in_a_cell_are_refused():
    with pytest.raises(ValidationError, match=r"label 'a\|b' holds the separator"):
        Task(name="t", labels=["a|b", "c"], problem="multi_label")
    with pytest.raises(ValidationError, match="stands for no label"):
        Task(name="t", labels=["(none)", "c"], problem="multi_label")


def test_an_inner_node_is_no_label():
    with pytest.raises(ValidationError, match=r"'Goods' ends at an inner node .* such as 'Goods > other'"):
        Task(name="t", labels=["Goods", "Goods > Food"], problem="hierarchical")
    with pytest.raises(ValidationError, match="is no path"):
        Task(name="t", labels=["Goods > ", "Else"], problem="hierarchical")
    assert Task(name="t", labels=["Goods > Food", "Else"], problem="hierarchical").labels


def test_a_run_states_its_problem_or_has_the_usual_one():
    assert problem_of({"labels": ["a"]}) == SINGLE
    assert problem_of({"problem": {"kind": "multi_label", "separator": ";", "none": "-"}}).separator == ";"
