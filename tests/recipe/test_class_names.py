"""Names of classes beside numbers, in the forms that such files have."""

from __future__ import annotations

import pytest

from adjudge.core.errors import DataError
from adjudge.recipe.class_names import named_classes, names_files, read_names


@pytest.mark.parametrize(
    ("content", "labels", "names"),
    [
        ("World\nSports\nSci/Tech\n", ["0", "2"], ["World", "Sci/Tech"]),
        ("World\nSports\nSci/Tech\n", ["1", "3"], ["World", "Sci/Tech"]),
        ("\ufeffWorld\r\nSports\r\n", ["1", "2"], ["World", "Sports"]),
        ("0\tnegative\n1\tvery positive\n", ["0", "1"], ["negative", "very positive"]),
        ("3 joy\n17: love\n", ["3", "17"], ["joy", "love"]),
        ("joy,3\nlove,17\n", ["3", "17"], ["joy", "love"]),
        ('["World", "Sports"]', ["0", "1"], ["World", "Sports"]),
        ('{"0": "World",\n "1": "Sports"}', ["0", "1"], ["World", "Sports"]),
        ('{"World": 0, "Sports": 1}', ["0", "1"], ["World", "Sports"]),
    ],
)
def test_names_by_order_by_number_and_as_json(tmp_path, content, labels, names):
    (tmp_path / "classes.txt").write_text(content, encoding="utf-8")
    found, told = named_classes(labels, tmp_path / "classes.txt")
    assert found == dict(zip(labels, names, strict=True))
    assert not told


def test_where_the_first_number_is_open_the_reading_is_said(tmp_path):
    (tmp_path / "classes.txt").write_text("admiration\namusement\nanger\nannoyance\n")
    found, told = named_classes(["1", "2"], tmp_path / "classes.txt")
    assert found == {"1": "amusement", "2": "anger"}
    assert told == ["no label is 0, and classes.txt is taken to begin with the name of 0: 1 = amusement, 2 = anger"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("World\nWorld\n", "each once"),
        ("World\n", "at least two"),
        ('{"a": [1]', "not valid JSON"),
        ("[1, 2]", "expected a list of names"),
        ("World\nSports\n", "has no name for the labels '7'"),
    ],
)
def test_files_that_name_too_little_are_refused(tmp_path, content, message):
    (tmp_path / "classes.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        named_classes(["0", "7"], tmp_path / "classes.txt")
    with pytest.raises(DataError, match="no such file"):
        read_names(tmp_path / "none.txt")


def test_files_that_may_hold_names_are_found_beside_the_data(tmp_path):
    for name in ("classes.txt", "label_names.json", "mapping.txt", "train.csv", "notes.txt", "labels.txt"):
        (tmp_path / name).write_text("x")
    found = [file.name for file in names_files(tmp_path / "train.csv")]
    assert found == ["classes.txt", "label_names.json", "labels.txt", "mapping.txt"]
