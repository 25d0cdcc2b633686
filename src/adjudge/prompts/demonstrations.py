"""Solved examples in a prompt's prefix, and the marks that keep texts apart from the template around them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adjudge.core.errors import ConfigError

# Stand for texts and answers while a template is rendered. Private-use characters: no template has them.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}([a-z0-9 ]+){_CLOSE}")
TEXT_MARK = f"{_OPEN}text{_CLOSE}"


@dataclass(frozen=True)
class Demonstration:
    """A row of train that is shown, solved, in front of every text."""

    row_id: str
    text: str
    label: str


@dataclass(frozen=True)
class Shot:
    """A demonstration, ready to be put into a prompt.

    Attributes:
        row_id: of its row.
        answer: its label's answer, as written.
        text_ids: ids of its text, cut where it is long.
        answer_ids: ids of the answer.
    """

    row_id: str
    answer: str
    text_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]

    def ids(self, number: int) -> dict[str, tuple[int, ...]]:
        """What is run in place of its two marks."""
        return {f"shot {number}": self.text_ids, f"answer {number}": self.answer_ids}

    def shown(self, number: int) -> dict[str, str]:
        """What is shown of it in place of its two marks: which row it is, and the answer."""
        return {f"shot {number}": f"{{text of {self.row_id}}}", f"answer {number}": self.answer}


def shot_marks(number: int) -> tuple[str, str]:
    """What stands for a shot's text and for its answer."""
    return f"{_OPEN}shot {number}{_CLOSE}", f"{_OPEN}answer {number}{_CLOSE}"


def holds_marks(text: str) -> bool:
    """Whether a text holds what could be taken for a mark."""
    return _MARK.search(text) is not None


def split_marks(rendered: str, n_shots: int) -> tuple[list[str], list[str]]:
    """The pieces of a rendered template between the marks, and the marks.

    Raises:
        ConfigError: a mark is missing, doubled or out of order.
    """
    parts = _MARK.split(rendered)
    pieces, marks = parts[::2], parts[1::2]
    expected = [name for i in range(n_shots) for name in (f"shot {i}", f"answer {i}")] + ["text"]
    if marks != expected:
        shown = marks.count("text")
        what = "the demonstrations out of order or not whole" if shown == 1 else f"the user's message {shown} times"
        raise ConfigError(f"the model's chat template shows {what} instead of once")
    return pieces, marks


def written(pieces: Sequence[str], values: Mapping[str, str], marks: Sequence[str]) -> str:
    """The pieces before the text with something written in place of each mark between them."""
    return "".join(piece + values.get(mark, "") for piece, mark in zip(pieces, marks, strict=False))
