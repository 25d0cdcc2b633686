"""Rows and the order in which a training sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adjudge.core.seeds import stream_generator
from adjudge.core.types import Encoded
from adjudge.train.distillation import SoftTargets


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows and what is learnt from each.

    Attributes:
        encoded: ``[N]``.
        targets: ``[N]`` positions of the labels in the closed set; of a multi-label task ``[N, C]``, whether a row has
            each label.
        difficulty: ``[N]``, higher is harder; given, the first epoch goes from easy to hard (Bengio et al. 2009).
        soft: another model's answers, to learn from them too.
    """

    encoded: Sequence[Encoded]
    targets: npt.NDArray[np.int64] | npt.NDArray[np.bool_]
    difficulty: npt.NDArray[np.float64] | None = None
    soft: SoftTargets | None = None

    def __len__(self) -> int:
        return len(self.encoded)


def batches(
    n_rows: int,
    batch_size: int,
    steps: int,
    seed: int,
    *,
    difficulty: npt.NDArray[np.float64] | None = None,
    first: int = 0,
) -> Iterator[list[int]]:
    """Positions of each step's rows: every epoch in a new order, by the ``order`` stream of the seed.

    With difficulties, the first epoch's rows are sorted by them; which rows those are stays the stream's choice,
    so a part of an epoch sees the rows that it would see without.

    Args:
        n_rows: rows of train.
        batch_size: rows of each step; an epoch's last one may have fewer.
        steps: of the whole training.
        seed: the run's.
        difficulty: see `EncodedRows`.
        first: steps done before; the batches are those of a training that was not interrupted.
    """
    generator = stream_generator(seed, "order")
    order = generator.permutation(n_rows)[: steps * batch_size]
    if difficulty is not None:
        order = order[np.argsort(difficulty[order], kind="stable")]
    for step in range(steps):
        if not len(order):
            order = generator.permutation(n_rows)
        batch, order = order[:batch_size], order[batch_size:]
        if step >= first:
            yield batch.tolist()


def parts(batch: Sequence[int], accumulation: int) -> list[list[int]]:
    """A batch in that many parts of nearly equal size, in order; fewer where it has fewer rows."""
    split = np.array_split(np.asarray(batch, dtype=np.int64), min(accumulation, len(batch)))
    return [part.tolist() for part in split]
