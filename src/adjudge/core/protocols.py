"""The contracts between layers. A layer that needs something from a higher one takes it as one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from adjudge.core.decision import Decision
from adjudge.core.types import Reply

TokenCounter = Callable[[Sequence[str]], npt.NDArray[np.int64]]
"""texts ``[N]`` -> number of tokens of each, ``[N]``, before any truncation."""

OutOfFoldPredictor = Callable[[Sequence[str], npt.NDArray[np.int64], int], npt.NDArray[np.float32]]
"""texts ``[N]``, label indices ``[N]``, number of labels C -> out-of-fold probabilities ``[N, C]``."""

Log = Callable[[dict[str, Any]], None]
"""Takes one JSON-ready event of a run's ``log.jsonl``."""

Advance = Callable[[int], None]
"""Called with the number of units just finished."""


class Classifier(Protocol):
    """A fitted predictor. An encoder, an LLM and a baseline look the same from outside.

    Attributes:
        temperature: divides the logits before the softmax; 1 until it is fitted on validation.
        decision: how scores become probabilities and answers: softmax and the most probable label, unless the task
            wants several labels or a path in a tree.
    """

    temperature: float
    decision: Decision

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set; columns of every array below are in this order."""

    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """Uncalibrated scores ``[N, C]``; softmax (of several labels: the sigmoid) of them is a probability."""

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """Calibrated probabilities ``[N, C]``, each row summing to 1; of several labels, each in 0 to 1 by itself."""

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text; never abstains. A set of labels is one text, as in the data."""

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Each text's length in this classifier's own tokens (``[N]``) and whether it gets truncated (``[N]``)."""

    def save(self, path: Path) -> None:
        """Write everything that prediction needs into the folder ``path``: JSON and safetensors only."""


@runtime_checkable
class Replier(Protocol):
    """A classifier that may have a head that writes. Its scores are no decision then: the reply is."""

    def replies(self, texts: Sequence[str], progress: Progress | None = None) -> list[Reply] | None:
        """What the model writes in answer to each text; None where its head scores the closed set."""


def replies_of(classifier: Classifier, texts: Sequence[str], progress: Progress | None = None) -> list[Reply] | None:
    """The replies that decide in place of the scores, ``N`` of them, or None where the scores decide."""
    return classifier.replies(texts, progress) if isinstance(classifier, Replier) else None


@dataclass(frozen=True)
class BatchTolerance:
    """By how much a probability of a text may differ, asked alone and asked among other texts.

    Attributes:
        stated: what holds by what was seen when the model was loaded.
        most: what rounding can come to in this precision; more than that is a fault.
    """

    stated: float
    most: float


@runtime_checkable
class Batching(Protocol):
    """A classifier that runs texts in batches."""

    @property
    def batch_tolerance(self) -> BatchTolerance | None:
        """What its batches may change; None where every text is computed by itself."""


class Progress(Protocol):
    """Where long work reports how far it is. The command line draws bars; libraries pass a silent one."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a bar of ``total`` units (None: unknown); the context value advances it."""


class SilentProgress:
    """Progress that shows nothing."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """See `Progress.task`."""
        return nullcontext(lambda _: None)
