"""How hard a row is, for a first epoch from easy to hard."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.core.types import Split
from adjudge.methods.tfidf import out_of_fold
from adjudge.train.batches import EncodedRows
from adjudge.train.training_config import Curriculum

_LEAST_PROBABILITY = 1e-12


def difficulty(
    curriculum: Curriculum, train: Split, rows: EncodedRows, n_labels: int
) -> npt.NDArray[np.float64] | None:
    """The difficulty of every row, ``[N]``, or None without a curriculum.

    Args:
        curriculum: ``length``, the row's own tokens; ``loss``, the loss in nats of a linear model over words that
            was not fitted to the row.
        train: the rows' texts.
        rows: the same, encoded.
        n_labels: C.
    """
    if curriculum == "none":
        return None
    if curriculum == "length":
        return np.array([len(row.text_ids) + len(row.suffix_ids) for row in rows.encoded], dtype=np.float64)
    targets = rows.targets.astype(np.int64, copy=False)
    probs = out_of_fold(train.texts, targets, n_labels)[np.arange(len(rows)), targets]
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(probs.astype(np.float64), _LEAST_PROBABILITY))
    return losses
