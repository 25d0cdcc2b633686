"""The same text more than once: within a split, in two splits, with different labels."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from adjudge.data.checks.contract import Check, Context, Finding, finding
from adjudge.data.checks.corpus import Corpus, IntArray
from adjudge.data.checks.wording import percent, rows, texts, verb
from adjudge.data.spelling import fold


def duplicate(context: Context) -> list[Finding]:
    """Texts that occur more than once within one split."""
    corpus = context.corpus
    found = []
    for index, name in enumerate(corpus.names):
        of = corpus.of(index) & ~corpus.empty
        chosen = np.bincount(corpus.key[of], minlength=len(corpus.distinct)) > 1
        at = corpus.rows_of_keys(chosen, of)
        count = int(chosen.sum())
        if count:
            message = (
                f"{texts(count)} of {name} {verb(count, 'occurs', 'occur')} more than once ({rows(len(at))}, "
                f"{percent(len(at) / corpus.of(index).sum())}), which makes them weigh more and intervals too narrow; "
                "keep one of each."
            )
            found.append(finding("duplicate", "warning", corpus, at, message))
    return found


def overlap(context: Context) -> list[Finding]:
    """Texts that are in two splits; one finding for each pair."""
    corpus = context.corpus
    held = corpus.presence()
    found = []
    for first, second in combinations(range(len(corpus.names)), 2):
        chosen = held[first] & held[second]
        count = int(chosen.sum())
        if count:
            at = corpus.rows_of_keys(chosen, corpus.of(first) | corpus.of(second))
            # The share of the later split, validation or test: the one that measures.
            share = corpus.of(second)[at].sum() / corpus.of(second).sum()
            message = (
                f"{texts(count)} {verb(count, 'is', 'are')} in both {corpus.names[first]} and {corpus.names[second]} "
                f"({percent(share)} of the rows of {corpus.names[second]}), whose results would flatter a model that "
                "remembers; remove them from one of the two."
            )
            found.append(finding("overlap", "error", corpus, at, message))
    return found


def contradiction(context: Context) -> list[Finding]:
    """Texts that have different labels, over all splits. Labels that people read as one are equal here."""
    corpus = context.corpus
    meaning = meanings(corpus)
    at = np.flatnonzero((meaning >= 0) & ~corpus.empty)
    if not len(at):
        return []
    label = meaning[at]
    least = np.full(len(corpus.distinct), len(corpus), dtype=np.int64)
    most = np.full(len(corpus.distinct), -1, dtype=np.int64)
    np.minimum.at(least, corpus.key[at], label)
    np.maximum.at(most, corpus.key[at], label)
    chosen = most > least
    count = int(chosen.sum())
    if not count:
        return []
    at = corpus.rows_of_keys(chosen)
    message = (
        f"{texts(count)} {verb(count, 'has', 'have')} different labels in different rows ({rows(len(at))}, "
        f"{percent(len(at) / len(corpus))}), so that no model can be right on all of them; decide on one label."
    )
    return [finding("contradiction", "warning", corpus, at, message)]


def meanings(corpus: Corpus) -> IntArray:
    """``[N]`` a number for each row's labels, equal where people read them as the same; -1 without a label."""
    cells = [tuple(sorted({fold(corpus.written[i]) for i in _labels_of(corpus, k)})) for k in _cells(corpus)]
    folded = {cell: index for index, cell in enumerate(dict.fromkeys(cells))}
    meaning = np.array([*(folded[cell] for cell in cells), -1], dtype=np.int64)  # the last one for a missing label
    return meaning[corpus.label]


def _cells(corpus: Corpus) -> range:
    return range(corpus.holds.shape[0])


def _labels_of(corpus: Corpus, cell: int) -> list[int]:
    """Positions of the labels of a cell."""
    start, end = corpus.holds.indptr[cell : cell + 2]
    return [int(i) for i in corpus.holds.indices[start:end]]


CHECKS = (
    Check({"duplicate": "a text occurs more than once within one split"}, duplicate),
    Check({"overlap": "a text is in two splits"}, overlap),
    Check({"contradiction": "one text has different labels"}, contradiction),
)
