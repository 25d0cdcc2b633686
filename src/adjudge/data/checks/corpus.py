"""All rows of all splits as columns, with the normalised form of every text as a dense integer key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from adjudge.core.problem import SINGLE, Problem
from adjudge.core.types import Split

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_VISIBLE = r"[^\s\p{Cc}\p{Cf}]"
"""Neither white space nor a control or format character: a text without one (a zero-width space, say) is empty."""


@dataclass(frozen=True)
class Corpus:
    """Rows of all splits, one after the other (N rows, D distinct texts, K distinct cells, V distinct labels).

    Attributes:
        names: the splits, in the order given.
        sources: where each split came from.
        split: ``[N]`` index into `names`.
        row: ``[N]`` 1-based data record in its split's source.
        texts: ``[N]`` texts as read.
        key: ``[N]`` in 0 to D - 1: equal for texts that are equal after NFC, strip and whitespace collapse.
        distinct: ``[D]`` the normalised texts.
        empty: ``[N]`` whether nothing visible is in the text.
        written: ``[V]`` the labels as written, in order of first appearance.
        label: ``[N]`` which cell a row's label column holds, 0 to K - 1; -1 where it is missing or blank.
        holds: ``[K, V]`` 0/1, sparse: the labels of each cell. With one label for each text, cells are labels.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...]
    split: npt.NDArray[np.int8]
    row: IntArray
    texts: pl.Series
    key: IntArray
    distinct: pl.Series
    empty: BoolArray
    written: tuple[str, ...]
    label: IntArray
    holds: csr_array

    def __len__(self) -> int:
        return len(self.key)

    def of(self, split: int) -> BoolArray:
        """``[N]`` whether a row belongs to the split with this index."""
        return np.asarray(self.split == split)

    def with_label(self, chosen: BoolArray) -> BoolArray:
        """``[N]`` whether a row has one of the chosen labels (``[V]``)."""
        cells = np.append(self.holds @ chosen.astype(np.int64) > 0, False)  # the last one stands for a missing cell
        return np.asarray(cells[self.label])

    def rows_of_keys(self, chosen: BoolArray, where: BoolArray | None = None) -> IntArray:
        """Positions of the rows whose key is chosen (``[D]``), rows with one text side by side."""
        mask = chosen[self.key] if where is None else chosen[self.key] & where
        at = np.flatnonzero(mask)
        return at[np.argsort(self.key[at], kind="stable")]

    def presence(self) -> BoolArray:
        """``[S, D]`` whether a split holds a text; empty texts count as held by none."""
        held = np.zeros((len(self.names), len(self.distinct)), dtype=np.bool_)
        at = np.flatnonzero(~self.empty)
        held[self.split[at], self.key[at]] = True
        return held


def build_corpus(splits: Mapping[str, Split], problem: Problem = SINGLE) -> Corpus:
    """Put all splits into columns; linear in the characters of all texts.

    Args:
        splits: name -> rows.
        problem: how many labels a cell holds.
    """
    given = list(splits.values())
    texts = _strings([text for split in given for text in split.texts])
    normal = normalise(texts)
    key, first = _factorise(normal)
    distinct = normal.gather(first)
    visible = distinct.str.contains(_VISIBLE).to_numpy().astype(np.bool_)
    labels = _strings([label or "" for split in given for label in split.labels])
    label_key, label_first = _factorise(labels)
    written = labels.gather(label_first).to_list()
    kept = [i for i, value in enumerate(written) if value.strip()]
    code = np.full(len(written), -1, dtype=np.int64)
    code[kept] = np.arange(len(kept))
    cells = [problem.split(written[i]) for i in kept]
    distinct_labels = dict.fromkeys(label for cell in cells for label in cell)
    place = {label: i for i, label in enumerate(distinct_labels)}
    at = [(row, place[label]) for row, cell in enumerate(cells) for label in cell]
    return Corpus(
        names=tuple(splits),
        sources=tuple(split.source for split in given),
        split=np.repeat(np.arange(len(given), dtype=np.int8), [len(split) for split in given]),
        row=np.concatenate([np.empty(0, dtype=np.int64), *map(_records, given)]),
        texts=texts,
        key=key,
        distinct=distinct,
        empty=~visible[key],
        written=tuple(distinct_labels),
        label=code[label_key],
        holds=csr_array(
            (np.ones(len(at), dtype=np.int64), ([row for row, _ in at], [label for _, label in at])),
            shape=(len(cells), len(place)),
        ),
    )


def normalise(texts: pl.Series) -> pl.Series:
    """NFC, strip, runs of white space to one space: what "the same text" means in the gate."""
    return texts.str.normalize("NFC").str.strip_chars().str.replace_all(r"\s+", " ")


def _records(split: Split) -> IntArray:
    if len(split.row_numbers):
        return np.asarray(split.row_numbers, dtype=np.int64)
    return np.arange(1, len(split) + 1, dtype=np.int64)


def _strings(values: Sequence[str]) -> pl.Series:
    try:
        return pl.Series("text", values, dtype=pl.String)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON escapes can hold and UTF-8 cannot
        clean = [value.encode("utf-8", "replace").decode() for value in values]
        return pl.Series("text", clean, dtype=pl.String)


def _factorise(values: pl.Series) -> tuple[IntArray, IntArray]:
    """Dense codes in order of first appearance, and where each value appears first."""
    table = pl.DataFrame({"value": values}).with_row_index("at")
    first = table.select(pl.col("at").min().over("value")).to_series().to_numpy().astype(np.int64)
    where, code = np.unique(first, return_inverse=True)
    return code.astype(np.int64), where
