"""Nearly equal texts: MinHash and banding propose pairs, the exact Jaccard similarity of their shingles decides.

A text's shingles are the sets of three neighbouring characters of its normalised form in lower case. MinHash
(Broder 1997) estimates the Jaccard similarity J of two such sets by the share of equal entries of their signatures;
two texts are compared if all entries of one of b bands of r are equal, which happens with probability
1 - (1 - J^r)^b (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import combinations_with_replacement, pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import rensa

from adjudge.core.protocols import Advance
from adjudge.core.seeds import stream_seed
from adjudge.data.checks.contract import Check, Context, Finding, GateOptions
from adjudge.data.checks.described import Described
from adjudge.data.checks.twins import KINDS, Twins, equal_share, is_copy, words

SHINGLE = 3
RECALL = 0.95
"""Probability that a pair exactly at the threshold is proposed; pairs above it are found more often."""
_MAX_BAND_ROWS, _MAX_BANDS = 6, 32
_NEIGHBOURS = 8
"""A text is compared with this many after it in a band's bucket: all pairs of small buckets, chains in large ones."""
_CHUNK_CHARACTERS, _CHUNK_PAIRS = 2_000_000, 100_000
_BUDGET_SHINGLES = 100_000_000
"""Shingles compared exactly before the search stops: half a million pairs of texts of 100 characters."""
_ALIKE_LOOKED_AT = 8
"""Near pairs of a text with one split that are looked at for a copy."""
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
    """Texts that are nearly another one; findings for each split and each pair of splits, copies apart from others."""
    corpus, options = context.corpus, context.options
    held = corpus.presence()
    keys = np.flatnonzero(held.any(axis=0))
    if len(keys) < 2:
        return []
    scanned = corpus.distinct.gather(keys).str.slice(0, options.scan_characters).str.to_lowercase()
    with context.progress.task("Looking for near duplicates", 2 * len(keys)) as advance:
        pairs = _Pairs(scanned, held[:, keys].T, options)
        pairs.find(stream_seed(options.seed, "sample"), advance)
    described = Described(context, keys, {"copy": pairs.copies, "alike": pairs.alike}, complete=pairs.complete)
    splits = range(len(corpus.names))
    return [
        found
        for kind in KINDS
        for first, second in combinations_with_replacement(splits, 2)
        for found in described.between(kind, first, second)
    ]


class _Pairs:
    """The search for near pairs among distinct texts.

    Args:
        distinct: ``[D]`` texts, lower case, cut to what is looked at.
        held: ``[D, S]`` which splits hold a text.
        options: the thresholds.

    Attributes:
        copies: pairs that `is_copy` says are copies.
        alike: the other near pairs.
    """

    def __init__(self, distinct: pl.Series, held: npt.NDArray[np.bool_], options: GateOptions) -> None:
        self._texts = distinct
        self._held = held
        self._threshold = options.near_duplicate_threshold
        self._copy_share = options.copy_share
        self._bands, self._rows = bands_for(self._threshold)
        self.copies, self.alike = (Twins.none(*held.shape) for _ in KINDS)
        self._looked_at = np.zeros(held.shape, dtype=np.int16)
        self._decided: set[tuple[int, int]] = set()
        self._cached: dict[int, tuple[Shingles, Counter[str]]] = {}
        self._cached_characters = 0
        self._spent = 0

    @property
    def complete(self) -> bool:
        """Whether every proposed pair was decided."""
        return self._spent < _BUDGET_SHINGLES

    def find(self, seed: int, advance: Advance) -> None:
        """Fill `copies` and `alike`."""
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

    def _open(self, first: IntArray, second: IntArray) -> npt.NDArray[np.bool_]:
        """Which pairs could still add something: of one of the two no copy in a split of the other is known yet.

        A text with so many others in like words is left alone: where one pattern fills a file, copies are no news.
        """
        closed = (self.copies.twin >= 0) | (self._looked_at >= _ALIKE_LOOKED_AT)
        news = self._held[second] & ~closed[first]
        news |= self._held[first] & ~closed[second]
        return np.asarray(news.any(axis=1))

    def _verify(self, first: IntArray, second: IntArray) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            if not self.complete:
                return
            if (a, b) in self._decided:
                continue
            self._decided.add((a, b))
            (shingles, words_), (other_shingles, other_words) = self._taken_apart(a), self._taken_apart(b)
            if jaccard(shingles, other_shingles) < self._threshold:
                continue
            found = self.copies if is_copy(words_, other_words, self._copy_share) else self.alike
            found.add(a, b, self._held, equal_share(words_, other_words))
            self._looked_at[a] += self._held[b]
            self._looked_at[b] += self._held[a]

    def _taken_apart(self, index: int) -> tuple[Shingles, Counter[str]]:
        found = self._cached.get(index)
        if found is None:
            text = self._texts[index]
            if self._cached_characters > _CHUNK_CHARACTERS:
                self._cached.clear()
                self._cached_characters = 0
            self._cached_characters += len(text)
            found = self._cached[index] = (shingle_set(text), words(text))
        self._spent += len(found[0])
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


CHECKS = (
    Check(
        {
            "near_duplicate": "a text is a copy of another one but for a few words",
            "similar_wording": "a text is worded much like another one, and is no copy",
        },
        near_duplicate,
    ),
)
