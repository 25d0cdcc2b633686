"""adjudge's own training, through the methods that recipes name.

    python adjudge_training.py JOB.json

The job's ``method`` is a recipe's entry; texts and labels are given, the prompt is adjudge's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pace import Pace, read_job

from adjudge.core.config import validate
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS
from adjudge.methods.method import Setting
from adjudge.models.classifiers.linear import probabilities


class Turns:
    """Progress that waits for its turn between two training steps."""

    def __init__(self, pace: Pace, batch_size: int) -> None:
        self._pace = pace
        self._batch_size = batch_size

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """The loop's bar of steps takes the turns; other bars are silent."""
        del total
        if description != "train":
            yield lambda _: None
            return
        self._pace.ready()
        self._pace.wait()
        yield self._step_done
        self._pace.close_turn()

    def _step_done(self, steps: int) -> None:
        for _ in range(steps):
            self._pace.count(rows=self._batch_size)
            self._pace.unit_done()


def split(name: str, rows: list[dict[str, str]]) -> Split:
    """Rows of the job as a split."""
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    return Split(name, texts, labels, [f"{name}-{i}" for i in range(len(rows))])


def main() -> None:
    job, pace = read_job(), Pace()
    method = METHODS.load(job["method"]["kind"])
    config = validate(method.config, job["method"], "benchmark")
    setting = Setting(
        Task.model_validate(job["task"]),
        tuple(job["labels"]),
        seed=job["seed"],
        progress=Turns(pace, job["batch_size"]),
    )
    fitted = method.fit(split("train", job["train"]), split("validation", job["held_out"]), config, setting)
    logits = fitted.classifier.predict_logits([row["text"] for row in job["held_out"]])
    gold = [job["labels"].index(row["label"]) for row in job["held_out"]]
    loss = -np.log(probabilities(logits, 1.0)[np.arange(len(gold)), gold]).mean()
    if job["adapter"]:
        fitted.classifier.save(Path(job["adapter"]))
    known = ("engine", "engine_reason", "precision", "train_tokens", "rows_seen", "matrix_peak_share")
    facts: dict[str, Any] = {name: fitted.facts.get(name) for name in known}
    pace.end(held_out_log_loss=float(loss), **facts)


if __name__ == "__main__":
    main()
