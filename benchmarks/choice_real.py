"""Predictions of real classifiers on many rows: test sets are drawn from these rows, and their truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from choice_worlds import Floats, Sample, Setup, World

from adjudge.compare.deciding import DecidingMetric
from adjudge.core.types import IntArray
from adjudge.evaluate.metrics import confusion_counts, macro_f1_from_counts

TRAIN_ROWS = 3000
FITS = 8
"""Of each classifier, each on its own half of the training rows: the seeds."""


@dataclass(frozen=True)
class RealWorld:
    """Test sets drawn with replacement from the rows of a large set, and runs from the fits of each classifier.

    Attributes:
        setup: see there.
        gold: ``[P]`` label indices of all rows.
        answers: of each classifier ``[F, P]`` label indices, the reference first, the cheapest last.
        rows: N of a test set.
        seeds: of each method, drawn from its fits.
    """

    setup: Setup
    gold: IntArray
    answers: Sequence[IntArray]
    rows: int
    seeds: int

    @cached_property
    def true_means(self) -> Floats:
        """The metric of every method on all rows, ``[M]``, mean over its fits."""
        labels = np.ones(self.setup.labels, dtype=np.bool_)
        return np.array([np.mean([self._value(run, labels) for run in fits]) for fits in self.answers])

    @property
    def described(self) -> dict[str, Any]:
        """Facts for the record."""
        shares = np.bincount(self.gold, minlength=self.setup.labels) / len(self.gold)
        return {
            "rows": self.rows,
            "rarest": round(float(shares.min() * self.rows)),
            "candidates": len(self.answers) - 1,
            "seeds": [self.seeds] * len(self.answers),
            "seed_sd": None,
            "shared": None,
            "random_counts": True,
            "differences": [float(round(d, 5)) for d in self.true_means[1:] - self.true_means[0]],
        }

    def draw(self, generator: np.random.Generator) -> Sample:
        """New runs on a new test set."""
        rows = generator.integers(len(self.gold), size=self.rows)
        held = np.bincount(self.gold[rows], minlength=self.setup.labels) > 0
        answers, truths = [], []
        for place, fits in enumerate(self.answers):
            chosen = generator.integers(len(fits), size=self.seeds)
            answers.append(fits[chosen][:, rows])
            if self.seeds == 1:
                truths.append(self._value(fits[chosen[0]], held))
            elif held.all():
                truths.append(float(self.true_means[place]))
            else:
                truths.append(float(np.mean([self._value(run, held) for run in fits])))
        return Sample(self.gold[rows], answers, np.array(truths))

    def _value(self, answers: IntArray, held: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
        if self.setup.metric == "accuracy":
            return float((answers == self.gold).mean())
        counts = confusion_counts(self.gold, answers, self.setup.labels)[:, : self.setup.labels]
        return float(macro_f1_from_counts(counts.diagonal()[held], counts.sum(axis=1)[held], counts.sum(axis=0)[held]))


def real_worlds(folder: Path) -> list[World]:
    """Worlds of TF-IDF classifiers on the rows of a folder.

    The margin is the product's, and once what the true difference is, a hair less: then every acceptance is wrong.

    Raises:
        SystemExit: a file is not there, or a line is no ``text;label``.
    """
    gold, answers, n_labels = fitted(folder)
    asked: tuple[tuple[DecidingMetric, int, int], ...] = (
        ("macro_f1", 200, 1), ("macro_f1", 1000, 1), ("macro_f1", 5000, 1), ("macro_f1", 1000, 3),
        ("macro_f1", 5000, 3), ("accuracy", 1000, 1), ("accuracy", 5000, 3),
    )  # fmt: skip
    return [world for one in asked for world in _pair(*one, (gold, answers, n_labels))]


def _pair(metric: DecidingMetric, rows: int, seeds: int, fits: tuple[IntArray, list[IntArray], int]) -> list[World]:
    gold, answers, n_labels = fits
    name = f"real/{metric.replace('_', '-')}-{rows}-seeds-{seeds}"
    whole = RealWorld(Setup(name, metric, 0.01, n_labels), gold, answers, rows, seeds)
    lost = whole.true_means - whole.true_means[0]
    worlds: list[World] = [whole]
    for place in range(1, len(answers)):
        if lost[place] < -0.001:
            setup = Setup(f"{name}-at-{-100 * lost[place]:.1f}", metric, -float(lost[place]) * 0.999, n_labels)
            worlds.append(RealWorld(setup, gold, [answers[0], answers[place]], rows, seeds))
    return worlds


def fitted(folder: Path) -> tuple[IntArray, list[IntArray], int]:
    """Gold labels of all rows but those trained on, the answers of every fit of every classifier, and C."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import ComplementNB
    from sklearn.pipeline import make_pipeline

    texts, labels = read_lines(folder)
    names, codes = np.unique(labels, return_inverse=True)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(texts))
    train, rest = order[:TRAIN_ROWS], order[TRAIN_ROWS:]
    made = (
        lambda: (TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=30, max_iter=200)),
        lambda: (TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=200)),
        lambda: (TfidfVectorizer(max_features=2000), LogisticRegression(C=10, max_iter=200)),
        lambda: (TfidfVectorizer(), ComplementNB()),
    )
    answers = []
    for parts in made:
        fits = []
        for _ in range(FITS):
            half = generator.choice(train, size=TRAIN_ROWS // 2, replace=False)
            model = make_pipeline(*parts()).fit([texts[row] for row in half], codes[half])
            fits.append(model.predict([texts[row] for row in rest]))
        answers.append(np.stack(fits).astype(np.int64))
    best = max(range(len(answers)), key=lambda place: float((answers[place] == codes[rest]).mean()))
    answers.insert(0, answers.pop(best))
    return codes[rest].astype(np.int64), answers, len(names)


def read_lines(folder: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of all three files.

    Raises:
        SystemExit: a file is not there, or a line is no ``text;label``.
    """
    texts, labels = [], []
    for name in ("train.txt", "val.txt", "test.txt"):
        file = folder / name
        if not file.is_file():
            raise SystemExit(f"--data {folder}: there is no {name}")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            text, mark, label = line.rpartition(";")
            if line and not mark:
                raise SystemExit(f"{file}, line {number}: expected text;label, got {line[:60]!r}")
            if line:
                texts.append(text)
                labels.append(label)
    return texts, labels
