"""The mistakes that a method was most sure of: wrong labels in the data, or what the method does not understand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from adjudge.compare.fairness import LoadedRun
from adjudge.core.problem import problem_of
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
    if arrays.sets is not None:
        return _wrong_sets(item, arrays.sets, texts=texts)
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


def _wrong_sets(item: LoadedRun, sets: npt.NDArray[np.bool_], *, texts: bool) -> list[Mistake]:
    """Rows with a wrong set; their confidence is that in the surest of the wrong decisions about a label."""
    arrays, problem = item.test, problem_of(item.record["task"])
    held, given = sets[arrays.gold], sets[arrays.predicted]
    sureness = np.where(held != given, np.where(given, arrays.probs, 1 - arrays.probs), 0.0).max(axis=1)
    wrong = np.flatnonzero(arrays.gold != arrays.predicted)
    known = _texts(item) if texts else {}
    return [
        Mistake(
            row_id=arrays.row_ids[row],
            gold=problem.join(item.labels[i] for i in np.flatnonzero(held[row])),
            predicted=problem.join(item.labels[i] for i in np.flatnonzero(given[row])),
            confidence=float(sureness[row]),
            text=_cut(known.get(arrays.row_ids[row])),
        )
        for row in wrong[np.argsort(-sureness[wrong], kind="stable")[:MOST]]
    ]


def _texts(item: LoadedRun) -> dict[str, str]:
    table = item.run.texts()
    if table is None:
        return {}
    test = table.filter(pl.col("split") == "test")
    return dict(zip(test["row_id"].cast(pl.String), test["text"].cast(pl.String), strict=True))


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST else text[:LONGEST] + " …"
