"""What a search left behind, as data: read by the report, which knows no search library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

TrialState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """One set of options that was tried.

    Attributes:
        number: 0-based, in the order of their beginning.
        state: ``pruned`` trials were stopped early, as worse than the median at the same validation.
        value: validation macro-F1; of a pruned trial its best so far; None where there is none.
        seconds: how long it took.
        options: dotted option -> value.
        curve: validation macro-F1 after each validation while training.
    """

    number: int
    state: TrialState
    value: float | None
    seconds: float
    options: Mapping[str, Any]
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class StudyRecord:
    """The search over one method's options.

    Attributes:
        name: of the study in its database.
        method: the method's name in tables.
        model: model id, or None.
        trials: by number.
        best: number of the best complete trial, or None.
        importance: dotted option -> share of the explained spread, largest first; empty where too few are complete.
    """

    name: str
    method: str
    model: str | None
    trials: tuple[TrialRecord, ...]
    best: int | None
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def best_trial(self) -> TrialRecord | None:
        """The best complete trial."""
        return next((trial for trial in self.trials if trial.number == self.best), None)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)
