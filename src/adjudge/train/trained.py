"""What a training did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Trained:
    """What training did.

    Attributes:
        steps: optimiser steps taken.
        rows_seen: rows trained on, repeats counted.
        tokens: real tokens run forward and backward.
        best_step: the step whose weights were kept.
        best_macro_f1: its validation macro-F1.
        stopped: why it ended: ``epochs``, ``patience``, ``target_accuracy`` or ``max_seconds``; empty until then.
        training_seconds: time in steps, validation not counted.
        training_cpu_seconds: processor time of this process in steps, over all its threads.
        warm_rows: rows of the first steps, which the steady throughput leaves out.
        warm_seconds: their time.
        target_seconds: time in steps until `target_accuracy` was reached, or None.
        resumed_after: the steps after which an interrupted training went on.
    """

    steps: int = 0
    rows_seen: int = 0
    tokens: int = 0
    best_step: int = 0
    best_macro_f1: float = -1.0
    stopped: str = ""
    training_seconds: float = 0.0
    training_cpu_seconds: float = 0.0
    warm_rows: int = 0
    warm_seconds: float = 0.0
    target_seconds: float | None = None
    resumed_after: list[int] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """JSON-ready facts for run.json."""
        seconds = max(self.training_seconds, 1e-9)
        steady_seconds = max(self.training_seconds - self.warm_seconds, 1e-9)
        facts = {
            "steps": self.steps,
            "rows_seen": self.rows_seen,
            "train_tokens": self.tokens,
            "best_step": self.best_step,
            "best_validation_macro_f1": self.best_macro_f1,
            "stopped": self.stopped,
            "training_step_seconds": self.training_seconds,
            "training_step_cpu_seconds": self.training_cpu_seconds,
            "train_rows_per_second": self.rows_seen / seconds,
            "steady_rows_per_second": (self.rows_seen - self.warm_rows) / steady_seconds,
            "train_tokens_per_second": self.tokens / seconds,
        }
        if self.target_seconds is not None:
            facts["target_accuracy_seconds"] = self.target_seconds
        return {**facts, "resumed_after_steps": self.resumed_after} if self.resumed_after else facts
