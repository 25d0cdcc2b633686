"""How lines hold a text and its label, found from the lines themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adjudge.core.config import to_flow

MOST_LABELS = 60
_MOST_LABEL_CHARS = 40
_MARKED = re.compile(r"__label__\S+|[A-Z]+[:_]\S*|\d+")
_LABEL_FIRST = (
    (r"__label__(?P<label>\S+)\s+(?!__label__)(?P<text>.*)", "__label__LABEL text"),
    (r"(?P<label>__label__\S+(?:\s+__label__\S+)*)\s+(?P<text>.*)", "__label__ONE __label__OTHER text"),
    (r"(?P<label>[^\t]+)\t(?P<text>[^\t]*)", "label, tab, text"),
    (r"(?P<label>\S+)\s+(?P<text>.*)", "label text"),
)
_LABEL_LAST = (("\t", "text, tab, label"), (";", "text;label"), ("@", "text@label"), ("|", "text|label"))


@dataclass(frozen=True)
class LineForm:
    """How the lines of a file hold a text and its label.

    Attributes:
        shown: the form in words.
        options: of a source, so that it is read so.
        labels: the labels of the lines that were looked at.
    """

    shown: str
    options: dict[str, Any]
    labels: tuple[str, ...]

    @property
    def hint(self) -> str:
        """What to write in a task."""
        return f"the lines look like `{self.shown}`: {to_flow(self.options)}"


def line_form(lines: Sequence[str]) -> LineForm | None:
    """How lines hold a text and its label, where a few labels repeat in every line's place; None if they do not."""
    forms = [
        (f"(?P<text>.*){re.escape(delimiter)}(?P<label>.*)", shown, {"format": "lines", "delimiter": delimiter})
        for delimiter, shown in _LABEL_LAST
    ]
    forms += [(pattern, shown, {"format": "lines", "pattern": pattern}) for pattern, shown in _LABEL_FIRST]
    for pattern, shown, options in forms:
        labels = list(_labels(lines, re.compile(pattern)))
        if len(labels) == len(lines) and _are_labels(labels, words=shown == "label text"):
            return LineForm(shown, options, tuple(sorted(set(labels))))
    return None


def _labels(lines: Sequence[str], pattern: re.Pattern[str]) -> Iterator[str]:
    for line in lines:
        match = pattern.fullmatch(line)
        if match is None or not match["label"].strip() or not match["text"].strip():
            return
        yield match["label"]


def _are_labels(labels: Sequence[str], *, words: bool) -> bool:
    """Whether these are labels: a few, short, each used again; first words of texts are too many and too rare."""
    counts = Counter(labels)
    few = 2 <= len(counts) <= MOST_LABELS and 2 * len(counts) <= len(labels)
    if not few or max(map(len, counts)) > _MOST_LABEL_CHARS:
        return False
    if not words or all(map(_MARKED.fullmatch, counts)):
        return True
    return min(counts.values()) > 1 and 5 * len(counts) <= len(labels)
