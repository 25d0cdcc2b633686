"""Near texts in words: how many, what they are, pairs to look at, what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.data.checks.contract import Context, Finding, Level, finding
from adjudge.data.checks.repeats import meanings
from adjudge.data.checks.twins import Kind, Twins
from adjudge.data.checks.wording import percent, rows, texts

MAX_PAIRS = 100
_CODES: dict[Kind, str] = {"copy": "near_duplicate", "alike": "similar_wording"}

IntArray = npt.NDArray[np.int64]


class Described:
    """The findings about near texts.

    Args:
        context: the corpus and the thresholds.
        keys: ``[K]`` the distinct texts that were compared, as positions in the corpus's distinct texts.
        found: for each kind what was found, its texts counted over ``keys``.
        complete: whether all was looked at.
    """

    def __init__(self, context: Context, keys: IntArray, found: Mapping[Kind, Twins], *, complete: bool) -> None:
        self._context = context
        self._keys = keys
        self._found = found
        self._complete = complete
        self._meaning = meanings(context.corpus)
        self._place = np.full(len(context.corpus.distinct), -1, dtype=np.int64)
        self._place[keys] = np.arange(len(keys))
        self._rows = self._first_rows()

    def between(self, kind: Kind, first: int, second: int) -> list[Finding]:
        """The finding about two splits (or one, given twice), if there is one."""
        corpus, twins = self._context.corpus, self._found[kind]
        place = self._place[corpus.key]
        near = np.zeros(len(corpus), dtype=np.bool_)
        for one, other in ((first, second), (second, first)):
            near |= corpus.of(one) & (place >= 0) & (twins.twin[place, other] >= 0)
        at = np.flatnonzero(near & ~corpus.empty)
        if not len(at):
            return []
        at = at[np.lexsort((at, place[at], twins.leader[place[at]]))]
        pairs = self._pairs(twins, first, second)
        names = tuple(dict.fromkeys((corpus.names[first], corpus.names[second])))
        level: Level = "warning" if kind == "copy" else "note"
        say = self._copies if kind == "copy" else self._alike
        made = finding(_CODES[kind], level, corpus, at, say(at, pairs, (first, second)), splits=names)
        return [replace(made, pairs=tuple(pairs[:MAX_PAIRS]))]

    def _first_rows(self) -> IntArray:
        """``[S, K]`` the first row of each split with a text, as a position in the corpus; -1 for none."""
        corpus = self._context.corpus
        first = np.full((len(corpus.names), len(self._keys)), -1, dtype=np.int64)
        at = np.flatnonzero(~corpus.empty)[::-1]  # of several rows, the first is written last
        first[corpus.split[at], self._place[corpus.key[at]]] = at
        return first

    def _pairs(self, twins: Twins, first: int, second: int) -> list[dict[str, Any]]:
        """One pair for each text of the second split that has a twin in the first, most equal words first."""
        corpus = self._context.corpus
        twin = np.where(self._rows[second] >= 0, twins.twin[:, first], -1)
        chosen = [
            (text, int(twin[text]))
            for text in np.flatnonzero(twin >= 0).tolist()
            if first != second or text < twin[text] or twins.twin[twin[text], first] != text  # each pair once
        ]
        chosen.sort(key=lambda pair: -float(twins.share[pair[0], first]))
        pairs = []
        for text, other in chosen:
            places = [int(self._rows[first, other]), int(self._rows[second, text])]
            labels = [int(self._meaning[place]) for place in places]
            pairs.append(
                {
                    "rows": [{"split": corpus.names[corpus.split[i]], "row": int(corpus.row[i])} for i in places],
                    "equal_words": round(float(twins.share[text, first]), 3),
                    "same_label": labels[0] == labels[1],
                }
            )
        return pairs

    def _copies(self, at: IntArray, pairs: list[dict[str, Any]], splits: tuple[int, int]) -> str:
        other = sum(not pair["same_label"] for pair in pairs)
        if splits[0] == splits[1]:
            harm = "they are hardly independent rows; keep one of each"
        else:
            harm = "results there may flatter the model; remove them from one of the two"
        said = (
            f" {_of(other, len(pairs))} different labels: look at those first, as a label is wrong or the words that "
            "differ decide."
        )
        return (
            f"{self._how_many(at, splits)} are copies of {self._where(splits)} but for a few words (at least "
            f"{self._context.options.copy_share:.0%} of the words are equal, in long texts 80%{self._limits(at)}): "
            f"{harm}.{said if other else ''}"
        )

    def _alike(self, at: IntArray, pairs: list[dict[str, Any]], splits: tuple[int, int]) -> str:
        same = sum(pair["same_label"] for pair in pairs)
        return (
            f"{self._how_many(at, splits)} are worded much like {self._where(splits)} and no copies: less than "
            f"{self._context.options.copy_share:.0%} of the words are equal{self._limits(at)}. "
            f"{_of(same, len(pairs))} the same label. Paraphrases, or one pattern with other words, are ordinary "
            "rows: keep them, and look at a few pairs."
        )

    def _how_many(self, at: IntArray, splits: tuple[int, int]) -> str:
        corpus = self._context.corpus
        of = corpus.of(splits[1])
        share = (len(at) if splits[0] == splits[1] else of[at].sum()) / of.sum()
        count = len(np.unique(corpus.key[at]))
        least = "" if self._complete else "at least "
        return f"{least}{texts(count)} ({rows(len(at))}, {percent(share)} of {corpus.names[splits[1]]})"

    def _where(self, splits: tuple[int, int]) -> str:
        first, second = (self._context.corpus.names[index] for index in splits)
        return f"another text of {first}" if first == second else f"a text of the other of {first} and {second}"

    def _limits(self, at: IntArray) -> str:
        scanned = self._context.options.scan_characters
        cut = bool((self._context.corpus.texts.gather(at).str.len_chars() > scanned).any())
        early = "" if self._complete else "; the search stopped early because so many texts are alike"
        return f"{f', judged by their first {scanned:,} characters' if cut else ''}{early}"


def _of(count: int, pairs: int) -> str:
    return f"{count:,} of {pairs:,} pairs have" if pairs > 1 else f"{count} of 1 pair has"
