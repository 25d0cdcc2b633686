"""Going on with a run that was interrupted while it trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adjudge.core.atomic import write_text
from adjudge.core.runs import Run
from adjudge.train.checkpoints import resumable_step

CHECKPOINT = "checkpoint"
# What an interrupted run keeps; everything else is made again.
_KEPT = frozenset({"run.json", "log.jsonl", CHECKPOINT})


def can_resume(folder: Path) -> bool:
    """Whether a run folder holds a training that can go on."""
    return resumable_step(folder / CHECKPOINT) is not None


def clear_checkpoint(folder: Path) -> None:
    """Remove what a complete run no longer needs."""
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)


def prepare_resume(run: Run) -> float:
    """Make an interrupted run's folder ready for going on.

    Whatever was made after the training goes away, temporary files that a killed process left among it, and the log
    ends where the checkpoint was written, so that no step stands in it twice.

    Returns:
        Seconds that the log had reached there.
    """
    for path in run.path.iterdir():
        if path.name in _KEPT:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    events = list(_until(run, resumable_step(run.path / CHECKPOINT) or 0))
    write_text(run.path / "log.jsonl", "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events))
    return float(events[-1]["seconds"]) if events else 0.0


def _until(run: Run, step: int) -> Iterator[dict[str, Any]]:
    """The log's events up to the first that comes from a later step."""
    for event in run.log():
        if event.get("step", 0) > step:
            return
        yield event
