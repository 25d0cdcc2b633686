"""What is read off a reply: the label where it says exactly that, and nothing where it says anything else."""

from __future__ import annotations

import unicodedata

import pytest

from adjudge.core.errors import ConfigError
from adjudge.prompts import ReplyParser
from adjudge.prompts.replies import is_whole

PARSER = ReplyParser(("pos", "neg", "ไม่แน่ใจ"), ("Positive", "not good", "café :)"))


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("Positive", "pos"),
        (" positive\n\nText: and so on", "pos"),
        ("\n\nPOSITIVE.", "pos"),
        ("not good !!", "neg"),
        ("neg。", "neg"),
        ("pos", "pos"),
        ("ไม่แน่ใจ", "ไม่แน่ใจ"),
        (unicodedata.normalize("NFD", "CAFÉ :)"), "ไม่แน่ใจ"),
        ("café :).", None),  # the verbalizer's own punctuation is not in the way of itself alone
        ("", None),
        ("...", None),
        ("good", None),
        ("positive negative", None),
        ("It is positive", None),
        ('"positive"', None),
        ("Label: positive", None),
        ("positiv", None),
    ],
)
def test_a_reply_is_read_exactly_or_not_at_all(reply: str, label: str | None) -> None:
    assert PARSER.parse(reply) == label


def test_verbalizers_go_before_labels_and_labels_that_are_alike_are_not_read() -> None:
    turned = ReplyParser(("0", "1"), ("1", "zero"))
    assert (turned.parse("1"), turned.parse("0"), turned.parse("zero")) == ("0", "0", "1")
    alike = ReplyParser(("A", "a"), ("first", "second"))
    assert (alike.parse("a"), alike.parse("First")) == (None, "A")


def test_verbalizers_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="'Good' of label 'b' is like that of label 'a'"):
        ReplyParser(("a", "b"), ("good", "Good"))
    with pytest.raises(ConfigError, match="of several lines"):
        ReplyParser(("a", "b"), ("good", "very\nbad"))


def test_a_reply_is_whole_when_its_first_line_is() -> None:
    assert [is_whole(text) for text in ("", "\n", "yes", "\nyes", "yes\n", "\n yes \nno")] == [False] * 4 + [True] * 2
