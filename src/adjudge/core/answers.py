"""The columns that a prediction adds to a file: the answer, how sure it is, levels of a tree, probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from adjudge.core.hierarchy import Level, levels
from adjudge.core.protocols import Classifier, replies_of
from adjudge.core.types import FloatArray, IntArray


def new_columns(classifier: Classifier) -> list[str]:
    """The names of `answer_columns`, in their order."""
    written = [] if replies_of(classifier, []) is None else ["reply"]
    tree = _levels(classifier)
    levels = [f"{what}_level_{n}" for n in range(1, len(tree) + 1) for what in ("label", "confidence")]
    return ["label", "confidence", *written, *levels, *(f"prob_{label}" for label in classifier.labels)]


def _levels(classifier: Classifier) -> tuple[Level, ...]:
    problem = classifier.decision.problem
    return levels(classifier.labels, problem) if problem.hierarchical else ()


def answer_columns(classifier: Classifier, texts: Sequence[str], min_confidence: float) -> dict[str, pl.Series]:
    """The new columns of a batch. A row without any text gets nulls throughout: there is nothing to judge.

    Args:
        classifier: fitted.
        texts: ``[N]``.
        min_confidence: below it there is no label, 0 to 1.
    """
    present = np.array([bool(text) and not text.isspace() for text in texts], dtype=bool)
    given = [text for text, here in zip(texts, present, strict=True) if here]
    probs = np.full((len(texts), len(classifier.labels)), np.nan, dtype=np.float32)
    if given:
        probs[present] = classifier.predict_proba(given)
    known, decision, answered = np.nan_to_num(probs), classifier.decision, present
    best, answers = decision.best(known, classifier.labels), decision.answers(known, classifier.labels)
    chance = decision.confidence(known, classifier.labels)
    replies = replies_of(classifier, given)
    if replies is not None:
        index = {label: i for i, label in enumerate(classifier.labels)}
        best[present] = [-1 if reply.label is None else index[reply.label] for reply in replies]
        answered = present & (best >= 0)
        answers, chance = [classifier.labels[i] for i in best], probs[np.arange(len(texts)), best]
    confidence = np.where(answered, chance, np.float32(np.nan))
    confident = answered & (confidence >= min_confidence)
    label = [answer if sure else None for answer, sure in zip(answers, confident, strict=True)]
    columns = {"label": pl.Series(label, dtype=pl.String), "confidence": pl.Series(confidence).fill_nan(None)}
    if replies is not None:
        written = iter(replies)
        columns["reply"] = pl.Series([next(written).text if here else None for here in present], dtype=pl.String)
    for number, level in enumerate(_levels(classifier), start=1):
        columns |= _level_columns(number, level, (known, best, answered), min_confidence)
    for i, name in enumerate(classifier.labels):
        columns[f"prob_{name}"] = pl.Series(probs[:, i]).fill_nan(None)
    return columns


def _level_columns(
    number: int, level: Level, rows: tuple[FloatArray, IntArray, npt.NDArray[np.bool_]], min_confidence: float
) -> dict[str, pl.Series]:
    """The node that a row's path goes through at a level, and its probability; null where the path has ended above.

    Each level abstains by itself: a text may be sure to lie in a branch while its label is not.
    """
    probs, leaves, answered = rows
    node = level.of_leaf[leaves]
    here = answered & ~level.ended[node]
    chance = level.probabilities(probs)[np.arange(len(node)), node].astype(np.float32)
    sure = here & (chance >= min_confidence)
    names = [level.nodes[i] if shown else None for i, shown in zip(node, sure, strict=True)]
    confidence = np.where(here, chance, np.float32(np.nan))
    return {
        f"label_level_{number}": pl.Series(names, dtype=pl.String),
        f"confidence_level_{number}": pl.Series(confidence).fill_nan(None),
    }
