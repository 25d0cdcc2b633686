"""What kind of answer a task wants: one label, several, or a place in a tree. Stated in the task, never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from adjudge.core.config import StrictModel

ProblemKind = Literal["single_label", "multi_label", "hierarchical"]
_DEFAULTS: dict[str, dict[str, str]] = {
    "multi_label": {"separator": "|", "none": "(none)"},
    "hierarchical": {"separator": " > "},
}


class Problem(StrictModel):
    """How many labels a text has, and how they are written in one cell. A plain string in YAML is its ``kind``."""

    kind: ProblemKind = Field("single_label", description="single_label, multi_label or hierarchical")
    separator: str | None = Field(
        None, min_length=1, description="between labels (default '|') or between levels (default ' > ')"
    )
    none: str | None = Field(
        None, min_length=1, description="multi_label: how a text without any label is written; default '(none)'"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, value: Any) -> Any:
        value = {"kind": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            return value
        given = {key: item for key, item in value.items() if item is not None}
        return {**_DEFAULTS.get(str(value.get("kind")), {}), **given}

    @model_validator(mode="after")
    def _options_fit(self) -> Problem:
        allowed = _DEFAULTS.get(self.kind, {})
        for name in ("separator", "none"):
            if getattr(self, name) is not None and name not in allowed:
                raise ValueError(f"`{name}` means nothing with `kind: {self.kind}`; leave it out")
        if self.kind == "multi_label" and str(self.separator) in str(self.none):
            raise ValueError(f"`none` ({self.none!r}) must not hold the separator {self.separator!r}")
        return self

    @property
    def single(self) -> bool:
        """Whether every text has one label without parts."""
        return self.kind == "single_label"

    @property
    def multi(self) -> bool:
        """Whether a text may have any number of labels."""
        return self.kind == "multi_label"

    @property
    def hierarchical(self) -> bool:
        """Whether a label is a path in a tree."""
        return self.kind == "hierarchical"

    def split(self, cell: str) -> tuple[str, ...]:
        """The labels of a cell, sorted and each once; of a task with one label for each text the cell itself."""
        if not self.multi:
            return (cell,)
        if cell.strip() == self.none:
            return ()
        return tuple(sorted({part.strip() for part in cell.split(str(self.separator)) if part.strip()}))

    def join(self, labels: Iterable[str]) -> str:
        """A set of labels as one cell: sorted, so that equal sets are equal texts. The opposite of `split`."""
        return str(self.separator).join(sorted(labels)) or str(self.none)

    def path(self, label: str) -> tuple[str, ...]:
        """The names on the way to a label, from the top level down; of other kinds the label itself."""
        if not self.hierarchical:
            return (label,)
        return tuple(part.strip() for part in label.split(str(self.separator)))

    def canonical(self, cell: str) -> str:
        """A cell in the one form that everything behind the readers sees."""
        if self.multi:
            return self.join(self.split(cell)) if self.split(cell) or cell.strip() == self.none else ""
        return str(self.separator).join(self.path(cell)) if self.hierarchical else cell

    def indicator(self, cells: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which labels each cell holds, ``[N, C]``; labels outside the set are passed over."""
        index = {label: i for i, label in enumerate(labels)}
        members = np.zeros((len(cells), len(labels)), dtype=np.bool_)
        for row, cell in enumerate(cells):
            members[row, [index[label] for label in self.split(cell) if label in index]] = True
        return members

    def label_problems(self, labels: Iterable[str]) -> list[str]:
        """What keeps these labels from being a label set of this kind, one sentence each."""
        known = list(labels)
        if self.multi:
            return [
                f"label {label!r} holds the separator {self.separator!r} or stands for no label; choose another "
                "`separator` or `none`"
                for label in known
                if self.canonical(label) != label or self.split(label) != (label,)
            ]
        if self.hierarchical:
            return [*self._path_problems(known), *self._inner_problems(known)]
        return []

    def _path_problems(self, labels: Sequence[str]) -> list[str]:
        return [
            f"label {label!r} is no path: a level is empty, or not written as {self.canonical(label)!r}"
            for label in labels
            if self.canonical(label) != label or not all(self.path(label))
        ]

    def _inner_problems(self, labels: Sequence[str]) -> list[str]:
        below: dict[tuple[str, ...], str] = {}
        for label in labels:
            path = self.path(label)
            for depth in range(1, len(path)):
                below.setdefault(path[:depth], label)
        return [
            f"label {label!r} ends at an inner node ({below[self.path(label)]!r} lies below it), so it says nothing "
            f"about the level below; name a leaf, such as {str(self.separator).join([label, 'other'])!r}"
            for label in labels
            if self.path(label) in below
        ]


SINGLE = Problem()


def stated(problem: Problem) -> dict[str, Any]:
    """What ``task`` of a run's ``run.json`` says of its problem; nothing of one label without parts."""
    return {} if problem.single else {"problem": problem.model_dump(mode="json", exclude_none=True)}


def problem_of(task: Mapping[str, Any]) -> Problem:
    """The problem that ``task`` of a run's ``run.json`` states; one label without parts where it states none."""
    return Problem.model_validate(task.get("problem", {}))
