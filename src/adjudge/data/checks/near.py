"""Nearly equal texts: MinHash and banding propose pairs, the exact Jaccard similarity of their shingles decides.

A text's shingles are the sets of three neighbouring characters of its normalised form in lower case. MinHash
(Broder 1997) estimates the Jaccard similarity J of two such sets by the share of equal entries of their signatures;
two texts are compared if all entries of one of b bands of r are equal, which happens with probability
1 - (1 - J^r)^b (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement, pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import rensa

from adjudge.core.protocols import Advance
from adjudge.core.seeds import stream_seed
from adjudge.data.checks.contract import Check, Context, Finding, finding
from adjudge.data.checks.wording import percent, rows, texts

SHINGLE = 3
RECALL = 0.95
"""Probability that a pair exactly at the threshold is proposed; pairs above it are found more often."""
_MAX_BAND_ROWS, _MAX_BANDS = 6, 32
_NEIGHBOURS = 8
"""A text is compared with this many after it in a band's bucket: all pairs of small buckets, chains in large ones."""
_CHUNK_CHARACTERS, _CHUNK_PAIRS = 2_000_000, 100_000
_BUDGET_SHINGLES = 100_000_000
"""Shingles compared exactly before the search stops: half a million pairs of texts of 100 characters."""
_SLACK = 2.5
"""Pairs whose estimate lies this many standard errors below the threshold are not verified."""

UintArray = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.int64]


def bands_for(threshold: float) -> tuple[int, int]:
    """Number of bands and entries in each, so that a pair at the threshold is proposed with probability `RECALL`.

    More entries in a band mean fewer chance pairs and more bands; the most that fit are taken.
    """
    for size in range(_MAX_BAND_ROWS, 0, -1):
        chance = threshold**size
        bands = 1 if chance >= RECALL else math.ceil(math.log(1 - RECALL) / math.log1p(-chance))
        if bands <= _MAX_BANDS:
            break
    return bands, size


Shingles = frozenset[tuple[str, ...]]


def shingle_set(text: str) -> Shingles:
    """The shingles of a text; a text shorter than a shingle is its own."""
    return frozenset(zip(*(text[i:] for i in range(SHINGLE)), strict=False)) or frozenset([tuple(text)])


def jaccard(first: Shingles, second: Shingles) -> float:
    """Size of the intersection over size of the union."""
    common = len(first & second)
    return common / (len(first) + len(second) - common)


def near_duplicate(context: Context) -> list[Finding]:
    """Texts that are nearly another one; one finding for each split and each pair of splits."""
    corpus, options = context.corpus, context.options
    held = corpus.presence()
    keys = np.flatnonzero(held.any(axis=0))
    if len(keys) < 2:
        return []
    scanned = corpus.distinct.gather(keys).str.slice(0, options.scan_characters).str.to_lowercase()
    with context.progress.task("Looking for near duplicates", 2 * len(keys)) as advance:
        pairs = _Pairs(scanned, held[:, keys].T, options.near_duplicate_threshold)
        twins, leader = pairs.find(stream_seed(options.seed, "sample"), advance)
    twin = np.zeros_like(held)
    twin[:, keys] = twins.T
    group = np.arange(len(corpus.distinct))
    group[keys] = keys[leader]
    return [
        found
        for first, second in combinations_with_replacement(range(len(corpus.names)), 2)
        for found in _between(context, (first, second), twin, group, complete=pairs.complete)
    ]


def _between(
    context: Context, pair: tuple[int, int], twin: npt.NDArray[np.bool_], group: IntArray, *, complete: bool
) -> list[Finding]:
    """The finding about two splits (or one, given twice), if there is one."""
    corpus, options = context.corpus, context.options
    first, second = pair
    chosen = (corpus.of(first) & twin[second][corpus.key]) | (corpus.of(second) & twin[first][corpus.key])
    at = np.flatnonzero(chosen & ~corpus.empty)
    if not len(at):
        return []
    at = at[np.lexsort((at, corpus.key[at], group[corpus.key[at]]))]
    count = len(np.unique(corpus.key[at]))
    if first == second:
        where, harm = f"another text of {corpus.names[first]}", "they are hardly independent rows; keep one of each"
        share = len(at) / corpus.of(first).sum()
    else:
        where = f"a text of the other of {corpus.names[first]} and {corpus.names[second]}"
        harm = "results there may flatter the model; remove them from one of the two"
        share = corpus.of(second)[at].sum() / corpus.of(second).sum()
    cut = bool((corpus.texts.gather(at).str.len_chars() > options.scan_characters).any())
    message = (
        f"{'' if complete else 'at least '}{texts(count)} ({rows(len(at))}, {percent(share)} of "
        f"{corpus.names[second]}) are nearly, not exactly, {where} (Jaccard similarity of their sets of {SHINGLE} "
        f"neighbouring characters at least {options.near_duplicate_threshold:g}"
        f"{f', judged by their first {options.scan_characters:,} characters' if cut else ''}"
        f"{'' if complete else '; the search stopped early because so many texts are alike'}): {harm}."
    )
    names = tuple(dict.fromkeys((corpus.names[first], corpus.names[second])))
    return [finding("near_duplicate", "warning", corpus, at, message, splits=names)]


class _Pairs:
    """The search for near pairs among distinct texts.

    Args:
        distinct: ``[D]`` texts, lower case, cut to what is looked at.
        held: ``[D, S]`` which splits hold a text.
        threshold: least Jaccard similarity.
    """

    def __init__(self, distinct: pl.Series, held: npt.NDArray[np.bool_], threshold: float) -> None:
        self._texts = distinct
        self._held = held
        self._threshold = threshold
        self._bands, self._rows = bands_for(threshold)
        self._twins = np.zeros_like(held)
        self._leader = np.arange(len(distinct))
        self._rejected: set[tuple[int, int]] = set()
        self._shingles: dict[int, Shingles] = {}
        self._cached = 0
        self._spent = 0

    @property
    def complete(self) -> bool:
        """Whether every proposed pair was decided."""
        return self._spent < _BUDGET_SHINGLES

    def find(self, seed: int, advance: Advance) -> tuple[npt.NDArray[np.bool_], IntArray]:
        """``[D, S]`` whether a text has a near twin in a split, and ``[D]`` the first text of its group."""
        bytes_, bands = self._sign(seed, advance)
        size = bytes_.shape[1]
        error = math.sqrt(self._threshold * (1 - self._threshold) / size)
        least = (self._threshold - _SLACK * error) * size
        for number, band in enumerate(bands):
            order = np.argsort(band, kind="stable")
            ranked = band[order]
            for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
                at = np.flatnonzero(ranked[step:] == ranked[:-step])
                if not len(at):
                    break
                first, second = order[at], order[at + step]
                open_ = self._open(first, second)
                first, second = first[open_], second[open_]
                for part in range(0, len(first), _CHUNK_PAIRS):
                    a, b = first[part : part + _CHUNK_PAIRS], second[part : part + _CHUNK_PAIRS]
                    likely = (bytes_[a] == bytes_[b]).sum(axis=1) >= least
                    self._verify(a[likely], b[likely])
            advance(len(order) * (number + 1) // len(bands) - len(order) * number // len(bands))
        return self._twins, self._leader

    def _open(self, first: IntArray, second: IntArray) -> npt.NDArray[np.bool_]:
        """Which pairs could still add something: a split whose twin one of the two has not found yet."""
        news = self._held[second] & ~self._twins[first]
        news |= self._held[first] & ~self._twins[second]
        return np.asarray(news.any(axis=1))

    def _verify(self, first: IntArray, second: IntArray) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            if not self.complete:
                return
            if (a, b) in self._rejected:
                continue
            if jaccard(self._shingled(a), self._shingled(b)) >= self._threshold:
                self._twins[a] |= self._held[b]
                self._twins[b] |= self._held[a]
                self._leader[a] = self._leader[b] = min(self._leader[a], self._leader[b])
            else:
                self._rejected.add((a, b))

    def _shingled(self, index: int) -> Shingles:
        found = self._shingles.get(index)
        if found is None:
            text = self._texts[index]
            if self._cached > _CHUNK_CHARACTERS:
                self._shingles.clear()
                self._cached = 0
            self._cached += len(text)
            found = self._shingles[index] = shingle_set(text)
        self._spent += len(found)
        return found

    def _sign(self, seed: int, advance: Advance) -> tuple[npt.NDArray[np.uint8], UintArray]:
        """The lowest byte of every signature entry ``[D, P]``, and the hash of every band ``[bands, D]``."""
        size = self._bands * self._rows
        bytes_ = np.empty((len(self._texts), size), dtype=np.uint8)
        bands = np.empty((self._bands, len(self._texts)), dtype=np.uint64)
        for start, hashes, offsets in _shingle_hashes(self._texts):
            matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, size, seed)
            signature = np.array(matrix.to_rows(), dtype=np.uint64)
            stop = start + len(signature)
            bytes_[start:stop] = signature.astype(np.uint8)
            mixed = np.zeros((len(signature), self._bands), dtype=np.uint64)
            for entry in range(self._rows):
                mixed = _mix(mixed ^ signature[:, entry :: self._rows])
            bands[:, start:stop] = mixed.T
            advance(len(signature))
        return bytes_, bands


def _shingle_hashes(distinct: pl.Series) -> Iterator[tuple[int, UintArray, UintArray]]:
    """Chunks of texts as (first index, hashes of all their shingles, where each text's begin ``[n + 1]``).

    Three code points fit into 63 bits and the mixing is a bijection, so different shingles have different hashes.
    """
    lengths = distinct.str.len_chars().to_numpy().astype(np.int64)
    chunk = np.cumsum(lengths) // _CHUNK_CHARACTERS
    edges = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(distinct)]
    for start, stop in pairwise(edges):
        length = lengths[start:stop]
        pad = "\0" * (SHINGLE - 1)
        joined = pad.join(distinct.slice(start, stop - start).to_list()) + pad
        points = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        packed = points[:-2] | (points[1:-1] << np.uint64(21)) | (points[2:] << np.uint64(42))
        counts = np.maximum(1, length - (SHINGLE - 1))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        begins = np.concatenate([[0], np.cumsum(length + (SHINGLE - 1))[:-1]])
        at = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], counts)
        yield start, _mix(packed[at]), offsets.astype(np.uint64)


def _mix(values: UintArray) -> UintArray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that spreads every bit."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


CHECKS = (Check({"near_duplicate": "a text is nearly, not exactly, another one"}, near_duplicate),)
