"""Search spaces: what a recipe may write, and each method's own."""

from __future__ import annotations

from functools import reduce

import pytest

from adjudge.core.errors import ConfigError
from adjudge.methods import METHODS
from adjudge.recipe.search_space import NOTHING_TO_SEARCH, SPACES, Choice, Range, search_space, with_values


def options(kind: str):
    return METHODS.load(kind).config()


def test_every_method_has_a_space_or_says_that_there_is_nothing_to_search() -> None:
    assert {*SPACES, *NOTHING_TO_SEARCH} == set(METHODS)
    assert not set(SPACES) & set(NOTHING_TO_SEARCH)


@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind in SPACES])
def test_a_methods_own_space_holds_values_that_it_takes(kind: str) -> None:
    for option, dimension in SPACES[kind].items():
        for value in dimension.values():
            taken = reduce(getattr, option.split("."), with_values(options(kind), {option: value}, kind))
            assert taken == (tuple(value) if isinstance(value, list) else value)


def test_what_is_written_replaces_the_methods_own_space() -> None:
    written = {"training.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}, "rank": [4, 8, 16]}
    space = search_space(options("lora"), written, "recipe.yaml")
    assert space == {"training.learning_rate": Range(low=1e-5, high=1e-3, log=True), "rank": Choice((4, 8, 16))}
    assert search_space(options("lora"), None, "recipe.yaml") == SPACES["lora"]
    assert search_space(options("majority"), None, "recipe.yaml") == {}


def test_whole_ends_give_whole_numbers() -> None:
    assert Range(low=1, high=8).whole
    assert not Range(low=1.0, high=8.0).whole


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"rnak": [4, 8]}, "unknown option 'rnak'.*did you mean 'rank'"),
        ({"rank": [4]}, "a list needs two values or more, all different"),
        ({"rank": [4, 4]}, "all different"),
        ({"rank": 8}, r"expected a list of values or \{low, high, log\}, got 8"),
        ({"rank": [0, 8]}, "rank: input should be greater than or equal to 1, got 0"),
        ({"rank": {"low": 1, "hihg": 3}}, "hihg: unknown key; did you mean 'high'"),
        ({"dropout": {"low": 0.5, "high": 0.1}}, r"`low` \(0.5\) must be below `high` \(0.1\)"),
        ({"dropout": {"low": 0.0, "high": 0.1, "log": True}}, "must be above 0 where `log` is true"),
        ({"rank": {"low": 1.5, "high": 3.5}}, "rank: input should be a valid integer"),
        ({"model": ["a", "b"]}, "unknown option 'model'"),
        ({}, "names no option"),
    ],
)
def test_a_mistake_is_one_clear_error(written, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search_space(options("lora"), written, "recipe.yaml: methods.0 (lora)")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        search_space(options("lora"), {"rnak": [1, 2], "dropout": 3}, "recipe.yaml")
    assert len(caught.value.problems) == 2
