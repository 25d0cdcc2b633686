import pytest

from adjudge.core.errors import (
    AdjudgeError,
    ConfigError,
    DataError,
    MissingExtraError,
    ModelNotFoundError,
    UsageError,
    WorkError,
    did_you_mean,
    nearest,
)


@pytest.mark.parametrize("kind", [UsageError, ConfigError, DataError, ModelNotFoundError])
def test_unusable_input_ends_with_status_2(kind: type[UsageError]) -> None:
    assert kind("x").exit_status == 2


def test_failed_work_ends_with_status_1() -> None:
    assert WorkError("disk full").exit_status == 1
    assert AdjudgeError("x").exit_status == 1


def test_one_message_and_many_are_both_kept_apart() -> None:
    assert UsageError("one").problems == ("one",)
    many = UsageError(["a: wrong", "b: missing"])
    assert many.problems == ("a: wrong", "b: missing")
    assert str(many) == "a: wrong\nb: missing"


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = MissingExtraError("fastexcel", "excel", "read Excel files")
    assert "needed to read Excel files" in str(error)
    assert "pip install 'adjudge[excel]'" in str(error)
    assert error.exit_status == 2


def test_nearest_finds_a_slip_and_nothing_far() -> None:
    assert nearest("learning_rat", ["rank", "learning_rate"]) == "learning_rate"
    assert nearest("zzzz", ["rank", "learning_rate"]) is None


def test_did_you_mean_lists_what_is_allowed_in_order() -> None:
    assert did_you_mean("lorra", ["tfidf", "lora"]) == "allowed: lora, tfidf; did you mean 'lora'?"
    assert did_you_mean("zzzz", ["b", "a"]) == "allowed: a, b"


def test_did_you_mean_shortens_a_long_list() -> None:
    assert did_you_mean("zzzz", [f"{i:03}" for i in range(100)]).endswith("038, 039, …")
