"""How a classifier's scores become probabilities and answers, by the kind of problem that it was fitted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, softmax

from adjudge.core.hierarchy import descend, lead, levels
from adjudge.core.problem import SINGLE, Problem
from adjudge.core.types import FloatArray, IntArray

# Below any probability that a float32 softmax gives a label in earnest; keeps the logarithm finite.
_TINY = 1e-30


@dataclass(frozen=True)
class Decision:
    """Part of a fitted classifier, saved with it.

    Attributes:
        problem: what kind of answer is given.
        thresholds: ``[C]`` probabilities from which on a label is given, of a multi-label classifier; empty: 0.5.
    """

    problem: Problem = SINGLE
    thresholds: tuple[float, ...] = ()

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        """What makes a row of logits probabilities."""
        return "sigmoid" if self.problem.multi else "softmax"

    def probabilities(self, logits: FloatArray, temperature: float = 1.0) -> npt.NDArray[np.float32]:
        """``[N, C]`` float32, computed in float64.

        Softmax of ``logits / temperature``, each row summing to 1; of a multi-label classifier the sigmoid, where
        each label has a probability of its own.
        """
        scaled = np.asarray(logits, dtype=np.float64) / temperature
        found = expit(scaled) if self.activation == "sigmoid" else softmax(scaled, axis=1)
        return np.asarray(found, dtype=np.float32)

    def logits(self, probs: FloatArray) -> npt.NDArray[np.float32]:
        """Finite scores ``[N, C]`` that `probabilities` makes these of: logarithms, or log-odds of several labels."""
        wide = np.maximum(np.asarray(probs, dtype=np.float64), _TINY)
        if self.activation == "softmax":
            return np.log(wide).astype(np.float32)
        return np.asarray(logit(np.minimum(wide, np.nextafter(1.0, 0.0))), dtype=np.float32)

    def chosen(self, probs: FloatArray) -> npt.NDArray[np.bool_]:
        """Which labels a multi-label classifier gives, ``[N, C]``: those at or above their threshold."""
        return np.asarray(probs >= (np.array(self.thresholds) if self.thresholds else 0.5))

    def best(self, probs: FloatArray, labels: Sequence[str]) -> IntArray:
        """The one label that is given, ``[N]``: the most probable, the first of equals; in a tree by descending."""
        if self.problem.hierarchical:
            return descend(probs, levels(labels, self.problem))
        return probs.argmax(axis=1).astype(np.int64) if len(probs) else np.zeros(0, dtype=np.int64)

    def answers(self, probs: FloatArray, labels: Sequence[str]) -> list[str]:
        """The answer to each text as one cell, ``N`` of them: a label, or the set of labels joined."""
        if self.problem.multi:
            return [self.problem.join(labels[int(i)] for i in np.flatnonzero(row)) for row in self.chosen(probs)]
        return [labels[i] for i in self.best(probs, labels)]

    def confidence(self, probs: FloatArray, labels: Sequence[str]) -> npt.NDArray[np.float32]:
        """The probability of each answer, ``[N]``; of a set, that it is right as a whole, its labels independent."""
        if self.problem.multi:
            decided = np.where(self.chosen(probs), probs, 1 - probs.astype(np.float64))
            return np.asarray(decided.prod(axis=1), dtype=np.float32)
        return np.asarray(probs[np.arange(len(probs)), self.best(probs, labels)], dtype=np.float32)

    def slack(self, probs: FloatArray, labels: Sequence[str]) -> npt.NDArray[np.float64]:
        """By how much every probability would have to move for another answer, ``[N]``.

        Half the lead of the best label over the second; of several labels the smallest distance from a threshold; in
        a tree half the smallest lead on the way down.
        """
        wide = np.asarray(probs, dtype=np.float64)
        if self.problem.multi:
            cuts = np.array(self.thresholds) if self.thresholds else 0.5
            return np.asarray(np.abs(wide - cuts).min(axis=1))
        if self.problem.hierarchical:
            return lead(wide, levels(labels, self.problem)) / 2
        second, best = np.partition(wide, -2, axis=1)[:, -2:].T
        return np.asarray((best - second) / 2)

    def to_json(self) -> dict[str, Any]:
        """What a saved classifier says of it; nothing for one label without parts."""
        if self.problem.single:
            return {}
        described = self.problem.model_dump(mode="json", exclude_none=True)
        found = {"problem_type": described.pop("kind"), "problem": described}
        return found | {"thresholds": list(self.thresholds)} if self.problem.multi else found

    @classmethod
    def from_json(cls, manifest: Mapping[str, Any]) -> Decision:
        """Rebuild from a saved classifier's manifest."""
        kind = manifest.get("problem_type", "single_label")
        problem = Problem.model_validate({"kind": kind, **manifest.get("problem", {})})
        return cls(problem, tuple(map(float, manifest.get("thresholds", ()))))


PLAIN = Decision()
"""Softmax, and the most probable label."""
