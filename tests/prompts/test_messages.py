"""Messages: who says what about a text, before any model is asked."""

from __future__ import annotations

import pytest

from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.prompts.messages import Content, Message, conversation, user_content, verbalizers

LABELS = ("pos", "neg")


def content_of(task: Task) -> Content:
    return user_content(task, LABELS, verbalizers(task, LABELS))


def test_a_conversation_is_the_users_message_alone_where_nothing_else_is_given() -> None:
    task = Task(name="t", prompt="Read: {text}!", instruction="Say.")
    (message,) = conversation(task, content_of(task), "a film")
    assert message == Message("user", "Read: a film!")


def test_the_opening_is_said_once_and_solved_texts_stand_in_front_with_their_answers() -> None:
    task = Task(name="t", system="Be brief.", prompt="{instruction}\n\nText: {text}", instruction="Label {labels}.")
    said = conversation(task, content_of(task), "third", [("first", "pos"), ("second", "neg")])
    assert [(message.role, message.content) for message in said] == [
        ("system", "Be brief."),
        ("user", "Label pos, neg.\n\nText: first"),
        ("assistant", "pos"),
        ("user", "Text: second"),
        ("assistant", "neg"),
        ("user", "Text: third"),
    ]


def test_reserved_characters_are_refused() -> None:
    task = Task(name="t", instruction="Say \ue000text\ue001.")
    with pytest.raises(ConfigError, match="reserved characters"):
        content_of(task)
