"""Texts that a model's vocabulary knows nothing of."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.test_gate import by_code, only, places, split

from adjudge.data.gate import GateOptions, check

THAI = [("อาหารอร่อยมาก", "yes"), ("แย่มาก", "no")]
ENGLISH = [("very good food", "yes"), ("not good at all", "no"), ("a good day", "yes"), ("a bad one", "no")]


def latin(texts):
    """Known tokens of a vocabulary of Latin letters."""
    return np.array([sum(letter.isascii() and letter.isalpha() for letter in text) for text in texts])


def options(**more):
    return GateOptions(known_counter=latin, model="tiny", **more)


def test_rows_of_unknown_tokens_alone_are_a_warning_that_names_them():
    found = only(check({"train": split("train", [*ENGLISH, *THAI[:1]])}, options=options()), "unknown_tokens")
    assert (found.level, found.count_rows, places(found)) == ("warning", 1, [("train", 5)])
    assert (
        "1 row of train (20.0%) has no token that the vocabulary of tiny knows, so it is the same to it"
        in found.message
    )


def test_a_split_of_which_half_is_unknown_stops_a_run():
    splits = {"train": split("train", [*ENGLISH[:2], *THAI]), "test": split("test", [*ENGLISH, *THAI[:1]])}
    error, warning = by_code(check(splits, options=options()), "unknown_tokens")
    assert (error.level, error.splits, error.count_rows) == ("error", ("train",), 2)
    assert (warning.level, warning.splits) == ("warning", ("test",))


def test_a_known_word_in_an_unknown_text_is_enough():
    mixed = [(f"{text} ok", label) for text, label in THAI]
    assert not by_code(check({"train": split("train", mixed)}, options=options()), "unknown_tokens")


@pytest.mark.parametrize("text", ["", "  \n", "\u200b"])
def test_empty_texts_are_another_finding(text: str):
    report = check({"train": split("train", [*ENGLISH, (text, "yes")])}, options=options())
    assert by_code(report, "empty_text")
    assert not by_code(report, "unknown_tokens")


def test_without_a_vocabulary_nothing_is_said():
    assert not by_code(check({"train": split("train", THAI)}), "unknown_tokens")


def test_above_the_sample_size_a_sample_is_looked_at_and_said():
    seen: list[str] = []

    def count(texts):
        seen.extend(texts)
        return latin(texts)

    rows = [(f"อร่อย {i}", "yes" if i % 2 else "no") for i in range(300)]
    report = check({"train": split("train", rows)}, options=GateOptions(known_counter=count, sample_rows=100))
    found = only(report, "unknown_tokens")
    assert len(seen) == found.count_rows == 100
    assert found.level == "error"
    assert "in a sample of 100 of 300 rows" in found.message
