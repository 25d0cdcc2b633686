import numpy as np
import pytest

from adjudge.core.types import Encoded, Example, Split

SPLIT = Split(
    name="train",
    texts=["a", "b", "c"],
    labels=["x", None, "y"],
    row_ids=["1", "2", "3"],
    meta={"source": ["web", "app", "web"]},
    row_numbers=[10, 20, 30],
    source="reviews.csv",
)


def test_a_split_iterates_over_examples() -> None:
    assert len(SPLIT) == 3
    assert list(SPLIT)[1] == Example("2", "b", None, {"source": "app"})


def test_take_keeps_every_column_in_the_order_asked() -> None:
    taken = SPLIT.take(np.array([2, 0]), name="validation")
    assert taken.name == "validation"
    assert (taken.texts, taken.labels, taken.row_ids) == (["c", "a"], ["y", "x"], ["3", "1"])
    assert taken.meta == {"source": ["web", "web"]}
    assert taken.row_numbers == [30, 10]
    assert taken.source == "reviews.csv"


def test_take_works_without_row_numbers_and_for_no_rows() -> None:
    bare = Split("test", ["a"], [None], ["1"])
    assert bare.take([0]).row_numbers == []
    assert len(bare.take([])) == 0
    assert bare.take([0]).name == "test"


def test_columns_of_different_length_are_found_when_rows_are_read() -> None:
    with pytest.raises(ValueError, match="longer"):
        list(Split("test", ["a", "b"], ["x", "y"], ["1"]))


@pytest.mark.parametrize(("kept", "whole", "truncated"), [(2, 2, False), (2, 3, True), (0, 0, False)])
def test_an_encoded_text_knows_whether_it_was_cut(kept: int, whole: int, truncated: bool) -> None:
    assert Encoded(tuple(range(kept)), (9,), whole).truncated is truncated
