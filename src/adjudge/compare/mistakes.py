"""The mistakes that a method was most sure of: wrong labels in the data, or what the method does not understand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from adjudge.compare.fairness import LoadedRun
from adjudge.evaluate.metrics import NO_ANSWER

MOST = 20
LONGEST = 600
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Mistake:
    """One test row whose answer is wrong. ``text`` is None where texts are not stored or not wanted."""

    row_id: str
    gold: str
    predicted: str
    confidence: float
    text: str | None


def confident_mistakes(item: LoadedRun, *, texts: bool) -> list[Mistake]:
    """The `MOST` wrong answers of a run with the highest probability, surest first; equals in row order."""
    arrays = item.test
    wrong = np.flatnonzero((arrays.predicted != arrays.gold) & (arrays.predicted != NO_ANSWER))
    confidence = arrays.probs[wrong, arrays.predicted[wrong]]
    order = np.argsort(-confidence, kind="stable")[:MOST]
    known = _texts(item) if texts else {}
    return [
        Mistake(
            row_id=arrays.row_ids[row],
            gold=item.labels[arrays.gold[row]],
            predicted=item.labels[arrays.predicted[row]],
            confidence=float(share),
            text=_cut(known.get(arrays.row_ids[row])),
        )
        for row, share in zip(wrong[order], confidence[order], strict=True)
    ]


def _texts(item: LoadedRun) -> dict[str, str]:
    table = item.run.texts()
    if table is None:
        return {}
    test = table.filter(pl.col("split") == "test")
    return dict(zip(test["row_id"].cast(pl.String), test["text"].cast(pl.String), strict=True))


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST else text[:LONGEST] + " …"
