"""How a file of new texts is read where the user does not say it."""

from __future__ import annotations

import pytest

from adjudge.core.task import Source, Task
from adjudge.experiment.new_texts import reading_of

TASK = Task(name="t", text="review", label="stars")
LABELS = ("neg", "pos")


def reading(tmp_path, content, name="new.txt", task=TASK, train=None, **options):
    (tmp_path / name).write_text(content)
    source = Source(path=str(tmp_path / name), **options)
    found, columns = reading_of(source, task, {"data": {"train": train or {"path": "train.csv"}}}, LABELS)
    return found.model_dump(exclude_defaults=True, exclude={"path"}), columns


@pytest.mark.parametrize("name", ["new.txt", "new", "new.texts"])
@pytest.mark.parametrize(
    "content", ["a fine film\ncold grim; dull\n", "one\n\ntwo, three\n", "good;5 stars\nbad;none\n"]
)
def test_a_file_whose_name_says_nothing_holds_a_text_a_line(tmp_path, name, content):
    assert reading(tmp_path, content, name) == ({"format": "text"}, ("text",))


@pytest.mark.parametrize(
    "content",
    [
        '{"review": "a"}\n{"review": "b"}\n',
        "review\tid\na\t1\n",
        "id,review\n1,a\n",
        "text\tlabel\na\tx\nb\ty\n",
    ],
)
def test_json_and_tables_stay_what_they_are(tmp_path, content):
    assert reading(tmp_path, content) == ({}, None)


def test_lines_with_a_label_of_the_task_are_lines(tmp_path):
    content = "a;b;pos\nfine;neg\nlast;pos\n"
    assert reading(tmp_path, content) == ({"format": "lines"}, None)
    named = Task.model_validate({**TASK.model_dump(), "labels": {"0": {"name": "neg"}, "1": {"name": "pos"}}})
    assert reading(tmp_path, "a;1\nb;0\n", task=named) == ({"format": "lines"}, None)


def test_lines_are_read_as_those_of_training_where_they_hold_labels(tmp_path):
    train = {"path": "train.txt", "format": "lines", "pattern": r"(?P<stars>\S+) (?P<review>.*)"}
    assert reading(tmp_path, "pos a\nneg b\n", train=train)[0] == {"format": "text"}
    train["pattern"] = r"(?P<label>\S+) (?P<review>.*)"
    assert reading(tmp_path, "pos a\nneg b\n", train=train)[0] == {"format": "lines", "pattern": train["pattern"]}
    assert reading(tmp_path, "a film\nb film\n", train=train)[0] == {"format": "text"}


def test_a_header_is_missing_where_that_of_training_was_unless_it_names_the_text(tmp_path):
    train = {"path": "train.csv", "header": False}
    task = Task(name="t", text="column_2", label="column_1")
    assert reading(tmp_path, "1,a film\n2,b film\n", "new.csv", task, train)[0] == {"header": False}
    assert reading(tmp_path, "1,1\n2,2\n", "new.csv", task, train)[0] == {"header": False}
    assert reading(tmp_path, "column_1,column_2\n1,b film\n", "new.csv", task, train)[0] == {}
    assert reading(tmp_path, "1,a film\n", "new.csv", task, train, header=1)[0] == {}
    assert reading(tmp_path, "1,a film\n", "new.csv", task)[0] == {}


def test_columns_that_training_called_otherwise_are_called_so_where_they_are(tmp_path):
    train = {"path": "train.csv", "columns": {"review": "Body", "stars": "Kind"}}
    assert reading(tmp_path, "Body,id\na,1\n", "new.csv", train=train)[0] == {"columns": {"review": "Body"}}
    assert reading(tmp_path, "review,id\na,1\n", "new.csv", train=train)[0] == {}


def test_what_is_said_is_not_looked_for(tmp_path):
    assert reading(tmp_path, "a;pos\n", format="text") == ({"format": "text"}, ("text",))
    assert reading(tmp_path, "a;pos\n", format="csv") == ({"format": "csv"}, None)
