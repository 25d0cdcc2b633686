"""Learning-rate factors, worked by hand."""

from __future__ import annotations

import math

import pytest

from adjudge.train.schedule import Schedule, schedule_factor


def factors(schedule: Schedule, total: int, warmup: int, floor: float = 0.0) -> list[float]:
    return [schedule_factor(schedule, step, total, warmup, floor) for step in range(total)]


def test_linear_by_hand() -> None:
    assert factors("linear", 6, 2) == pytest.approx([1 / 2, 1, 1, 3 / 4, 2 / 4, 1 / 4])


def test_cosine_by_hand() -> None:
    half = math.sqrt(0.5)
    expected = [1, (1 + half) / 2, 1 / 2, (1 - half) / 2]
    assert factors("cosine", 4, 0) == pytest.approx(expected)


def test_constant_after_warmup() -> None:
    assert factors("constant", 5, 3) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


def test_without_warmup_the_first_step_has_the_peak() -> None:
    assert [schedule_factor(name, 0, 10, 0) for name in ("constant", "linear", "cosine")] == [1, 1, 1]


def test_floor_is_where_the_fall_ends() -> None:
    assert schedule_factor("linear", 10, 10, 0, 0.1) == pytest.approx(0.1)
    assert schedule_factor("cosine", 10, 10, 0, 0.1) == pytest.approx(0.1)
    assert schedule_factor("linear", 5, 10, 0, 0.1) == pytest.approx(0.55)


def test_one_step_has_a_rate_above_zero() -> None:
    assert schedule_factor("linear", 0, 1, 0) == 1
