import polars as pl
import pytest

from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_text
from adjudge.core.task import Task
from adjudge.data.rows import build_split, cells, texts_of


def split(frame, **task):
    return build_split(Task(name="t", **task), pl.DataFrame(frame), "train", "a.csv")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 30], ["1", None, "30"]),
        ([1.0, None, 3.0], ["1", None, "3"]),
        ([1.0, 1.5, float("nan")], ["1.0", "1.5", None]),
        ([True, False, None], ["true", "false", None]),
        ([" Joy", "joy ", "01"], [" Joy", "joy ", "01"]),
    ],
)
def test_cells_become_their_shortest_text_and_strings_stay_as_written(values, expected):
    assert cells(pl.DataFrame({"c": values}), "c") == expected


def test_missing_labels_are_none_and_missing_texts_empty():
    found = split({"text": ["a", None, "c", "d"], "label": ["x", "y", None, " "]})
    assert found.texts == ["a", "", "c", "d"]
    assert found.labels == ["x", "y", None, None]
    assert list(found.row_numbers) == [1, 2, 3, 4]
    assert found.source == "a.csv"


def test_content_ids_count_texts_that_are_equal_after_nfc_strip_and_collapse():
    found = split({"text": ["caf\u00e9  au lait", "tea", " cafe\u0301 au\nlait "], "label": ["x", "y", "x"]})
    coffee, tea = hash_text("caf\u00e9 au lait"), hash_text("tea")
    assert found.row_ids == [f"{coffee}-0", f"{tea}-0", f"{coffee}-1"]


def test_text_columns_are_joined_by_line_breaks_or_by_the_template():
    frame = {"title": ["T", None], "body": ["{title} B", "b"], "n": [1, 2], "label": ["x", "y"]}
    assert split(frame, text=["title", "body"]).texts == ["T\n{title} B", "b"]
    template = "{{{title}}} ({n}): {body}"
    assert split(frame, text=["title", "body"], text_template=template).texts == ["{T} (1): {title} B", "{} (2): b"]


@pytest.mark.parametrize("field", ["title.__class__", "title!r", "title:>1000000000", "0"])
def test_a_template_substitutes_columns_and_evaluates_nothing(field):
    frame = {"title": ["T"], "label": ["x"]}
    with pytest.raises(DataError, match="no column"):
        split(frame, text="title", text_template=f"{{{field}}}")


def test_every_missing_column_is_named_with_the_nearest():
    with pytest.raises(DataError) as caught:
        split({"review": ["a"], "rating": ["x"]}, text="reviw", label="ratings", metadata=["city"])
    assert len(caught.value.problems) == 3
    assert "no column 'reviw'; columns: review, rating; did you mean 'review'?" in caught.value.problems[0]
    assert "did you mean 'rating'?" in caught.value.problems[2]


def test_repeated_and_missing_ids_are_errors_with_rows():
    with pytest.raises(DataError) as caught:
        split({"text": list("abcd"), "label": list("xyxy"), "id": ["1", "2", "1", None]}, id="id")
    assert "1 rows have no id in column 'id': rows 4" in caught.value.problems[0]
    assert "'1' in rows 1, 3" in caught.value.problems[1]


def test_fields_of_objects_are_columns_and_lists_are_a_clear_error():
    frame = pl.DataFrame(
        {"text": ["a", "b"], "meta": [{"label": "x", "tags": None}, {"label": "y", "tags": ["p", "q"]}]}
    )
    task = Task(name="t", label="meta.label", metadata=["meta.label"])
    found = build_split(task, frame, "train")
    assert found.labels == ["x", "y"]
    assert found.meta == {"meta.label": ["x", "y"]}
    with pytest.raises(DataError, match=r"'meta.tags' holds several labels for a text \('p', 'q'\).*; row 2"):
        build_split(Task(name="t", label="meta.tags"), frame, "train")
    with pytest.raises(DataError, match=r"holds an object of 'label', 'tags'; name one of its fields.*; row 2"):
        build_split(Task(name="t", label="meta"), frame, "train")


def test_prediction_needs_the_text_columns_alone():
    assert texts_of(Task(name="t", text="review"), pl.DataFrame({"review": ["a", None]})) == ["a", ""]
    with pytest.raises(DataError, match="did you mean 'reviews'"):
        texts_of(Task(name="t", text="review"), pl.DataFrame({"reviews": ["a"]}))


def test_metadata_columns_are_strings():
    found = split({"text": ["a", "b"], "label": ["x", "y"], "year": [2020, None]}, metadata=["year"])
    assert found.meta == {"year": ["2020", ""]}


def test_several_labels_are_read_from_cells_and_from_lists_alike():
    cells_ = split({"text": ["a", "b", "c", "d"], "label": [" y | x|y", "(none)", None, "|"]}, problem="multi_label")
    lists = split({"text": ["a", "b", "c", "d"], "label": [["y", "x", "y"], [], None, [" "]]}, problem="multi_label")
    assert cells_.labels == ["x|y", "(none)", None, None]
    assert lists.labels == ["x|y", "(none)", None, "(none)"]


def test_a_label_of_a_list_that_holds_the_separator_is_refused():
    with pytest.raises(DataError, match=r"holds the label 'x\|y', in which the separator '\|' occurs"):
        split({"text": ["a"], "label": [["x|y"]]}, problem="multi_label")
    frame = {"text": ["a"], "label": [["x|y", "z"]]}
    assert split(frame, problem={"kind": "multi_label", "separator": ";"}).labels == ["x|y;z"]


def test_a_list_of_one_label_is_that_label_and_a_longer_one_an_error():
    assert split({"text": ["a", "b"], "label": [["x"], []]}).labels == ["x", None]
    with pytest.raises(DataError, match=r"'label' holds several labels for a text \('x', 'y'\).*multi_label"):
        split({"text": ["a"], "label": [["x", "y"]]})


def test_paths_are_read_in_one_form():
    found = split({"text": ["a", "b"], "label": [" Goods >  Food", "Else "]}, problem="hierarchical")
    assert found.labels == ["Goods > Food", "Else"]
