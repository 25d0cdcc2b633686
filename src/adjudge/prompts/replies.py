"""Reading a label off what a model wrote: exact matches only, so that no reply becomes a label by guessing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from adjudge.core.errors import ConfigError


def is_whole(reply: str) -> bool:
    """Whether a reply's first line, which alone is read, has come to its end."""
    return "\n" in reply.lstrip()


class ReplyParser:
    """Reads labels off replies.

    A reply stands for a label where its first line, without surrounding spaces and without punctuation behind it, is
    the label's verbalizer or the label itself; upper and lower case and the way that Unicode composes characters make
    no difference. Verbalizers go before labels, since the prompt shows those; a label that is written like another
    one's verbalizer, or like another label, is read by its verbalizer alone.

    Args:
        labels: the closed set, in order.
        answers: each label's verbalizer.

    Raises:
        ConfigError: two labels' verbalizers are the same but for case, or one has several lines.
    """

    def __init__(self, labels: Sequence[str], answers: Sequence[str]) -> None:
        self._label_of: dict[str, str] = {}
        for label, answer in zip(labels, answers, strict=True):
            known = self._label_of.setdefault(_folded(answer), label)
            if known != label or is_whole(answer.strip()):
                what = f"like that of label {known!r} but for case" if known != label else "of several lines"
                raise ConfigError(
                    f"head 'generate' reads one line without regard to case, but the verbalizer {answer!r} of label "
                    f"{label!r} is {what}; give it another `verbalizer`"
                )
        names = [_folded(label) for label in labels]
        for label, name in zip(labels, names, strict=True):
            if names.count(name) == 1:
                self._label_of.setdefault(name, label)

    @property
    def known(self) -> dict[str, str]:
        """What a reply's first line may be, without regard to case, and the label that it stands for."""
        return dict(self._label_of)

    def parse(self, reply: str) -> str | None:
        """The label that a reply stands for, or None where it stands for none of the set."""
        line = _folded(reply.strip().partition("\n")[0])
        return self._label_of.get(line) or self._label_of.get(_without_end(line))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold())


def _without_end(text: str) -> str:
    """A text without the punctuation and spaces that it ends with."""
    end = len(text)
    while end and (text[end - 1].isspace() or unicodedata.category(text[end - 1]).startswith("P")):
        end -= 1
    return text[:end]
