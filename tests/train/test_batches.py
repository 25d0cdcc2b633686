"""The order of rows, and batches in parts."""

from __future__ import annotations

import numpy as np
import pytest

from adjudge.train.batches import batches, parts


def test_the_seed_alone_decides_the_order() -> None:
    order = [list(batches(10, 4, 6, seed)) for seed in (0, 0, 1)]
    assert order[0] == order[1] != order[2]


def test_every_epoch_sees_each_row_once_in_a_new_order() -> None:
    steps = list(batches(10, 4, 6, 0))
    assert [len(batch) for batch in steps] == [4, 4, 2, 4, 4, 2]
    first, second = ([i for batch in epoch for i in batch] for epoch in (steps[:3], steps[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


@pytest.mark.parametrize("first", range(7))
def test_an_order_taken_up_later_goes_on_where_it_was(first: int) -> None:
    assert list(batches(10, 4, 6, 3, first=first)) == list(batches(10, 4, 6, 3))[first:]


def test_a_curriculum_sorts_the_first_epoch_and_leaves_the_others() -> None:
    difficulty = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0, 1.0])
    taught, free = (list(batches(7, 3, 6, 0, difficulty=given)) for given in (difficulty, None))
    first = [i for batch in taught[:3] for i in batch]
    assert difficulty[first].tolist() == sorted(difficulty.tolist())
    assert taught[3:] == free[3:]


def test_a_curriculum_over_part_of_an_epoch_sees_the_rows_that_chance_chose() -> None:
    difficulty = np.arange(20.0)
    taught, free = (list(batches(20, 3, 2, 0, difficulty=given)) for given in (difficulty, None))
    seen = [i for batch in taught for i in batch]
    assert seen == sorted(i for batch in free for i in batch)
    assert seen != list(range(6))


def test_parts_hold_the_batch_in_order_and_none_is_empty() -> None:
    assert parts([7, 8, 9, 1, 2], 2) == [[7, 8, 9], [1, 2]]
    assert parts([7, 8], 4) == [[7], [8]]
    assert parts([7, 8, 9], 1) == [[7, 8, 9]]
