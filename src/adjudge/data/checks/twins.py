"""What two nearly equal texts are: a copy with small changes, or other texts in like words."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["copy", "alike"]
KINDS: tuple[Kind, ...] = ("copy", "alike")
# Characters of writing without spaces between words (Thai to Khmer, kana, Han) count as words of their own.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_LONG_WORD = 20
_LONG_TEXT, _LONG_SHARE = 30, 0.8


def words(text: str) -> Counter[str]:
    """The words of a text and how often each occurs; without case and punctuation.

    What is longer than a word, and a text without any, is counted by its characters.
    """
    found = [part for word in _WORD.findall(text.lower()) for part in (word if len(word) > _LONG_WORD else [word])]
    return Counter(found or text)


def is_copy(first: Counter[str], second: Counter[str], least: float) -> bool:
    """Whether two near texts share so many words that one is a copy of the other.

    People who say the same thing choose a few words alike, and seldom 30 in a row; so 80% are enough from there on.
    """
    long = min(first.total(), second.total()) >= _LONG_TEXT
    return equal_share(first, second) >= (min(least, _LONG_SHARE) if long else least)


def equal_share(first: Counter[str], second: Counter[str]) -> float:
    """Words that two texts share, of those of the longer one; 0 to 1."""
    return (first & second).total() / max(first.total(), second.total(), 1)


@dataclass(frozen=True)
class Twins:
    """The nearest relation found of each text to each split.

    Attributes:
        twin: ``[D, S]`` a text of the split that this text is near to; -1 for none.
        share: ``[D, S]`` share of equal words.
        leader: ``[D]`` the first text of the group that a text belongs to.
    """

    twin: npt.NDArray[np.int32]
    share: npt.NDArray[np.float32]
    leader: npt.NDArray[np.int64]

    @classmethod
    def none(cls, texts: int, splits: int) -> Twins:
        """Nothing found yet."""
        twin = np.full((texts, splits), -1, dtype=np.int32)
        return cls(twin, np.zeros((texts, splits), dtype=np.float32), np.arange(texts))

    def add(self, first: int, second: int, held: npt.NDArray[np.bool_], share: float) -> None:
        """Note a pair: each is near to the other in the splits that hold it. More equal words go first."""
        for one, other in ((first, second), (second, first)):
            better = held[other] & ((self.twin[one] < 0) | (self.share[one] < share))
            self.twin[one, better] = other
            self.share[one, better] = share
        self.leader[first] = self.leader[second] = min(self.leader[first], self.leader[second])
