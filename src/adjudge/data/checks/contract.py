"""What every check takes and gives: the corpus, the options and findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import ConfigError
from adjudge.core.problem import SINGLE, Problem
from adjudge.core.protocols import OutOfFoldPredictor, Progress, SilentProgress, TokenCounter
from adjudge.data.checks.corpus import Corpus

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
MAX_ROWS = 1_000
"""How many rows a finding lists; `Finding.count_rows` counts them all."""


@dataclass(frozen=True)
class GateOptions:
    """What the gate needs from outside, and its thresholds.

    Attributes:
        token_counter: counts tokens; without it, token lengths are not checked.
        known_counter: counts the tokens that the model's vocabulary knows; without it, texts of unknown tokens alone
            are not looked for.
        max_tokens: tokens of text that the model keeps; longer texts are truncated. None: no limit known.
        model: the model's name, for the message.
        out_of_fold: out-of-fold probabilities of a baseline; without it, labels are not checked for noise.
        near_duplicate_threshold: least Jaccard similarity of two texts' sets of character shingles, in (0, 1]. At the
            default, two texts of 20 words that differ in two words are still near (their similarity is about 0.8 and
            rarely below 0.7).
        copy_share: least share of equal words from which a near duplicate counts as a copy, in (0, 1]: two of 20
            words, or one of ten, may differ at the default (of texts of 30 words and more, one in five). Below it,
            texts are worded alike.
        min_class_rows: a class with fewer rows in a split is reported.
        imbalance_ratio: largest over smallest class of train from which imbalance is reported.
        long_text_characters: a text with more characters is reported.
        scan_characters: how much of a text near-duplicate shingles and patterns look at.
        sample_rows: above this many rows, token lengths and label noise look at a stratified sample of this size.
        seed: of that sample and of the MinHash permutations.
    """

    token_counter: TokenCounter | None = None
    known_counter: TokenCounter | None = None
    max_tokens: int | None = None
    model: str | None = None
    out_of_fold: OutOfFoldPredictor | None = None
    near_duplicate_threshold: float = 0.7
    copy_share: float = 0.9
    min_class_rows: int = 20
    imbalance_ratio: float = 3.0
    long_text_characters: int = 100_000
    scan_characters: int = 10_000
    sample_rows: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, all problems at once."""
        problems = []
        for name in ("near_duplicate_threshold", "copy_share"):
            if not 0 < getattr(self, name) <= 1:
                problems.append(f"{name}: must lie above 0 and at most 1, got {getattr(self, name)}")
        if self.imbalance_ratio < 1:
            problems.append(f"imbalance_ratio: must be at least 1, got {self.imbalance_ratio}")
        for name in ("min_class_rows", "long_text_characters", "scan_characters", "sample_rows"):
            if getattr(self, name) < 1:
                problems.append(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.max_tokens is not None and self.max_tokens < 1:
            problems.append(f"max_tokens: must be at least 1, got {self.max_tokens}")
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True)
class Finding:
    """One thing that the gate found.

    Attributes:
        code: stable name; the keys of `adjudge.data.gate.CODES`.
        level: ``error`` (results would be wrong), ``warning`` (look at it) or ``note`` (know it).
        splits: the splits concerned, in the order of the data.
        count: distinct texts concerned, after NFC, strip and whitespace collapse.
        count_rows: rows concerned.
        rows: at most 1,000 of them, each ``{"split": name, "row": 1-based data record}``.
        rows_truncated: whether `rows` leaves some out.
        message: one sentence: how many, what it means, what to do.
        pairs: at most 100 pairs of rows that belong together, each ``{"rows": [{"split", "row"}, {"split", "row"}],
            "equal_words": share, "same_label": bool}``.
    """

    code: str
    level: Level
    splits: tuple[str, ...]
    count: int
    count_rows: int
    rows: tuple[dict[str, Any], ...]
    rows_truncated: bool
    message: str
    pairs: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The finding as in ``check.json``."""
        return {
            "code": self.code,
            "level": self.level,
            "splits": list(self.splits),
            "count": self.count,
            "count_rows": self.count_rows,
            "rows": [dict(row) for row in self.rows],
            "rows_truncated": self.rows_truncated,
            "message": self.message,
            **({"pairs": [dict(pair) for pair in self.pairs]} if self.pairs else {}),
        }


@dataclass(frozen=True)
class Context:
    """What a check may read.

    Attributes:
        corpus: all rows of all splits, by column.
        labels: the closed label set: the task's, else what train (or, without one, any split) holds.
        options: thresholds and callables.
        progress: where a long check reports.
        problem: how many labels a text has.
    """

    corpus: Corpus
    labels: tuple[str, ...]
    options: GateOptions
    progress: Progress = field(default_factory=SilentProgress)
    problem: Problem = SINGLE


@dataclass(frozen=True)
class Check:
    """One entry of the table of checks.

    Attributes:
        codes: code -> its meaning in one line, for every code that `run` can give.
        run: looks at the corpus and returns findings.
    """

    codes: dict[str, str]
    run: Callable[[Context], list[Finding]]


def finding(
    code: str,
    level: Level,
    corpus: Corpus,
    at: npt.NDArray[np.int64],
    message: str,
    splits: Sequence[str] = (),
) -> Finding:
    """Make a finding of corpus positions.

    Args:
        code: its code.
        level: its level.
        corpus: all rows.
        at: ``[K]`` positions in the corpus, in the order in which they are to be listed.
        message: its sentence.
        splits: the splits concerned; default: those of ``at``, in the order of the data.
    """
    present = set(corpus.split[at].tolist())
    return Finding(
        code=code,
        level=level,
        splits=tuple(splits) or tuple(name for i, name in enumerate(corpus.names) if i in present),
        count=len(np.unique(corpus.key[at])),
        count_rows=len(at),
        rows=tuple(
            {"split": corpus.names[corpus.split[i]], "row": int(corpus.row[i])} for i in at[:MAX_ROWS].tolist()
        ),
        rows_truncated=len(at) > MAX_ROWS,
        message=message,
    )
