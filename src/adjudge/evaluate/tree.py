"""Metrics of a classifier whose labels are paths in a tree: at every level, and over the paths as sets of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adjudge.core.hierarchy import levels
from adjudge.core.problem import Problem
from adjudge.core.types import IntArray
from adjudge.evaluate.intervals import macro_f1_interval, wilson_interval
from adjudge.evaluate.metrics import NO_ANSWER, accuracy, macro_f1


def tree_metrics(
    gold: IntArray, predicted: IntArray, labels: Sequence[str], problem: Problem, *, seed: int = 0
) -> dict[str, Any]:
    """Metrics beside those of the labels themselves, ready for JSON.

    Args:
        gold: ``[N]`` label indices, N at least 1.
        predicted: ``[N]`` label indices, or `metrics.NO_ANSWER`.
        labels: ``[C]`` paths.
        problem: of kind ``hierarchical``.
        seed: of the bootstrap.

    Returns:
        ``levels``: from the top down, ``level``, ``nodes``, ``accuracy``, ``macro_f1`` and their ``intervals``
        (Wilson, `macro_f1_interval`; 95%), a path that has ended above a level counting as a node of it;
        ``hierarchical``: ``precision``, ``recall`` and ``f1`` (Kiritchenko et al. 2005) over each row's nodes without
        the root:
        ``hP = Σ |P ∩ G| / Σ |P|``, ``hR = Σ |P ∩ G| / Σ |G|``, hF their harmonic mean.
    """
    by_level, shared = [], 0
    for number, level in enumerate(levels(labels, problem), start=1):
        of_gold = level.of_leaf[gold]
        answered = np.where(predicted == NO_ANSWER, NO_ANSWER, level.of_leaf[predicted])
        right = of_gold == answered
        shared += int((right & ~level.ended[of_gold]).sum())
        interval = macro_f1_interval(of_gold, answered, len(level.nodes), seed=seed)
        by_level.append(
            {
                "level": number,
                "nodes": len(level.nodes),
                "accuracy": accuracy(of_gold, answered),
                "macro_f1": macro_f1(of_gold, answered, len(level.nodes)),
                "intervals": {
                    "accuracy": list(wilson_interval(int(right.sum()), len(gold))),
                    "macro_f1": list(interval),
                },
            }
        )
    depth = np.array([len(problem.path(label)) for label in labels])
    n_gold, n_predicted = int(depth[gold].sum()), int(depth[predicted[predicted != NO_ANSWER]].sum())
    return {
        "levels": by_level,
        "hierarchical": {
            "precision": shared / max(n_predicted, 1),
            "recall": shared / n_gold,
            "f1": 2 * shared / (n_predicted + n_gold),
        },
    }
