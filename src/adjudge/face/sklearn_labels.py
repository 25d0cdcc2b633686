"""What ``y`` means to `TextClassifier`: one label for each text, several, or a path in a tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.core.problem import Problem
from adjudge.data.assign import rarest_labels


def as_cells(labels: Sequence[Any], problem: Problem) -> list[Any]:
    """Each row's labels as one value, in the form that a file's reader gives it.

    Args:
        labels: ``[N]``; of a multi-label problem each a list, tuple or set of texts, of a hierarchical one a path.
        problem: as the task states it.

    Raises:
        ValueError: labels of another form than the problem wants.
    """
    for row, label in enumerate(labels):
        several = isinstance(label, list | tuple | set | frozenset)
        if problem.multi and not (several and all(isinstance(one, str) for one in label)):
            raise ValueError(
                f"y of a multi_label task must hold a list, tuple or set of texts for each row, but row {row} is "
                f"{label!r:.80}; of a 0/1 matrix, give the names of each row's ones"
            )
        if problem.hierarchical and not isinstance(label, str):
            raise ValueError(f"y of a hierarchical task must hold paths as text, but row {row} is {label!r:.80}")
        if problem.single and isinstance(label, list | set | frozenset | np.ndarray):
            raise ValueError(
                f"y holds several labels for a text (row {row}: {label!r:.80}); if it may, say so in the task: "
                "task={'name': 'topics', 'problem': 'multi_label'}"
            )
    if problem.single:
        return list(labels)
    _refuse({one for label in labels for one in (label if problem.multi else [label])}, problem)
    return [problem.join(set(label)) if problem.multi else label for label in labels]


def _refuse(labels: set[str], problem: Problem) -> None:
    if problems := problem.label_problems(sorted(labels)):
        raise ValueError("; ".join(problems))


def parts(labels: Sequence[Any], problem: Problem) -> list[Any]:
    """Every label that rows as `as_cells` gives them hold, repeats included."""
    return [one for label in labels for one in problem.split(label)] if problem.multi else list(labels)


def in_order(values: Iterable[Any]) -> list[Any]:
    """The distinct values, sorted; values of several types, which have no order of their own, by type and form."""
    try:
        return sorted(set(values))
    except TypeError:
        return sorted(set(values), key=lambda label: (type(label).__name__, repr(label)))


def strata(labels: Sequence[Any], problem: Problem) -> list[int]:
    """A number for each row, equal where rows are stratified alike: by the label, of several by the rarest one."""
    values = rarest_labels(labels, problem) if problem.multi else labels
    place = {value: i for i, value in enumerate(in_order(values))}
    return [place[value] for value in values]


def as_sets(cells: Sequence[str], problem: Problem) -> npt.NDArray[Any]:
    """Answers of a multi-label classifier as tuples of sorted labels, ``[N]`` of type object."""
    sets = np.empty(len(cells), dtype=object)
    sets[:] = [problem.split(cell) for cell in cells]
    return sets
