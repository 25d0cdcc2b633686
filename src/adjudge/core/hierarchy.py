"""A label set as a tree: the leaves are the labels, and a node's probability is the sum of its leaves'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adjudge.core.problem import Problem
from adjudge.core.types import FloatArray, IntArray


@dataclass(frozen=True)
class Level:
    """The nodes of one level.

    Attributes:
        nodes: their paths, in the order of the labels.
        of_leaf: ``[C]`` the node that each label lies in. A label whose path has ended above is a node of its own, so
            that every level divides all texts.
        ended: ``[nodes]`` whether the node is such a label.
    """

    nodes: tuple[str, ...]
    of_leaf: IntArray
    ended: npt.NDArray[np.bool_]

    def probabilities(self, probs: FloatArray) -> npt.NDArray[np.float64]:
        """Probabilities of the nodes, ``[N, nodes]``, from those of the labels ``[N, C]``."""
        found = np.zeros((len(probs), len(self.nodes)))
        for leaf, node in enumerate(self.of_leaf):  # label by label, so that a row's sum is the same in any batch
            found[:, node] += probs[:, leaf]
        return found


def levels(labels: Sequence[str], problem: Problem) -> tuple[Level, ...]:
    """The levels of a hierarchical label set, from the top down; the last one's nodes are the labels.

    Args:
        labels: ``[C]`` paths, none of them an inner node of another.
        problem: of kind ``hierarchical``.
    """
    paths = [problem.path(label) for label in labels]
    found = []
    for depth in range(1, max(map(len, paths)) + 1):
        heads = [str(problem.separator).join(path[:depth]) for path in paths]
        nodes = tuple(dict.fromkeys(heads))
        place = {node: i for i, node in enumerate(nodes)}
        short = {head for head, path in zip(heads, paths, strict=True) if len(path) < depth}
        ended = np.array([node in short for node in nodes], dtype=np.bool_)
        found.append(Level(nodes, np.array([place[head] for head in heads], dtype=np.int64), ended))
    return tuple(found)


def descend(probs: FloatArray, tree: Sequence[Level]) -> IntArray:
    """The label of each row, ``[N]``: at every level the most probable node below the one chosen above it.

    So the answers at all levels are one path. It may differ from the most probable label, where the probability of a
    larger branch is spread over many labels.

    Args:
        probs: ``[N, C]`` of the labels.
        tree: from `levels`.
    """
    open_labels = np.ones(probs.shape, dtype=np.bool_)
    for level in tree:
        best = _reachable(level, probs, open_labels).argmax(axis=1)
        open_labels &= level.of_leaf[None] == best[:, None]
    found: IntArray = open_labels.argmax(axis=1).astype(np.int64) if len(probs) else np.zeros(0, dtype=np.int64)
    return found


def lead(probs: FloatArray, tree: Sequence[Level]) -> npt.NDArray[np.float64]:
    """The smallest lead over the second node that `descend` meets on its way, ``[N]``; infinite where none has one.

    Args:
        probs: ``[N, C]`` of the labels.
        tree: from `levels`.
    """
    open_labels = np.ones(probs.shape, dtype=np.bool_)
    smallest = np.full(len(probs), np.inf)
    for level in tree:
        scores = _reachable(level, probs, open_labels)
        if scores.shape[1] > 1:
            second, best = np.partition(scores, -2, axis=1)[:, -2:].T
            smallest = np.where(second < 0, smallest, np.minimum(smallest, best - second))
        open_labels &= level.of_leaf[None] == scores.argmax(axis=1)[:, None]
    return smallest


def _reachable(level: Level, probs: FloatArray, open_labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Probabilities of a level's nodes, ``[N, nodes]``; -1 for those that hold none of a row's open labels."""
    holds = level.probabilities(open_labels.astype(np.float64)) > 0
    return np.where(holds, level.probabilities(np.where(open_labels, probs, 0.0)), -1.0)
