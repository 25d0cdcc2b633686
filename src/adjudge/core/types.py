"""The words of the domain as types: Example, Split, Encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """One text with its gold label (None where it is unknown) and row id."""

    row_id: str
    text: str
    label: str | None
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """The rows of one split, by column.

    Attributes:
        name: ``train``, ``validation`` or ``test``.
        texts: ``[N]`` texts.
        labels: ``[N]`` labels as written in the file; None where the cell is missing.
        row_ids: ``[N]`` ids, unique: the task's id column, else content hash and occurrence number.
        meta: further columns kept for slices, each ``[N]``.
        row_numbers: ``[N]`` 1-based data record of each row in its source file.
        source: base name of the file or the hub id; never an absolute path.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str | None]
    row_ids: Sequence[str]
    meta: dict[str, Sequence[str]] = field(default_factory=dict)
    row_numbers: Sequence[int] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Example]:
        for i, (row_id, text, label) in enumerate(zip(self.row_ids, self.texts, self.labels, strict=True)):
            yield Example(row_id, text, label, {name: column[i] for name, column in self.meta.items()})

    def take(self, rows: Sequence[int] | IntArray, name: str | None = None) -> Split:
        """The rows at these 0-based positions, in this order, as a split called ``name`` (default: the same)."""
        at = [int(i) for i in rows]
        return Split(
            name=name or self.name,
            texts=[self.texts[i] for i in at],
            labels=[self.labels[i] for i in at],
            row_ids=[self.row_ids[i] for i in at],
            meta={key: [column[i] for i in at] for key, column in self.meta.items()},
            row_numbers=[self.row_numbers[i] for i in at] if len(self.row_numbers) else [],
            source=self.source,
        )


@dataclass(frozen=True)
class Reply:
    """What a model wrote in answer to a text, and the label read off it: None where it is not one of the set."""

    text: str
    label: str | None


@dataclass(frozen=True)
class Encoded:
    """One rendered prompt as token ids, its parts known by construction.

    The prompt is ``prefix + text + suffix``; the answer is read after the last suffix token. The prefix is
    the same for all texts of a task, so it is stored once beside a batch and not here.

    Attributes:
        text_ids: the ids of the text, the only part that truncation may shorten.
        suffix_ids: the ids between the text and the answer slot.
        n_text_tokens: the text's length in tokens before truncation; of a text too long to be encoded whole, more
            than is kept.
    """

    text_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    n_text_tokens: int

    @property
    def truncated(self) -> bool:
        """Whether tokens of the text were left out."""
        return len(self.text_ids) < self.n_text_tokens
