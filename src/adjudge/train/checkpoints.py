"""Checkpoints of a training on disk: safetensors and one JSON file that says which of them belong together.

    <run>/checkpoint/
      checkpoint.json              step, values, and the names of the two files below
      state-<step>.safetensors     weights, optimiser, averages, random state
      best-<step>.safetensors      the weights that validation liked best, and their logits

The tensors are written first and ``checkpoint.json`` is renamed into place last, so whenever the process is killed,
the file on disk names a whole checkpoint. Files that it does not name are removed after that.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adjudge.core.atomic import atomic_path, read_json, write_json
from adjudge.core.protocols import Log

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MANIFEST = "checkpoint.json"


@dataclass(frozen=True)
class Snapshot:
    """A training at the end of a step.

    Attributes:
        step: optimiser steps taken.
        state: tensors that change with every step.
        best_step: the step of the best weights, or None before the first validation.
        best: tensors that change with a better validation.
        values: everything else, JSON-ready.
    """

    step: int
    state: dict[str, Tensor]
    best_step: int | None
    best: dict[str, Tensor]
    values: dict[str, Any]


class Checkpoints:
    """Writes a training's snapshots now and then, and gives the last one back.

    Args:
        folder: of this run's checkpoint; made when the first one is written.
        every_seconds: time between two of them.
        log: told where one cannot be written, or read.

    Attributes:
        earlier_seconds: time that the work up to the loaded checkpoint took; 0 without one.
    """

    def __init__(self, folder: Path, every_seconds: float, log: Log) -> None:
        self.folder = folder
        self.every_seconds = every_seconds
        self.earlier_seconds = 0.0
        self._log = log
        self._began = self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last one is old enough for another."""
        return time.monotonic() - self._last >= self.every_seconds

    @property
    def written(self) -> bool:
        """Whether there is one."""
        return (self.folder / MANIFEST).is_file()

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot and remove the one before.

        Training goes on where that fails (a full disk): the checkpoint before stays and the log says why.
        """
        from safetensors import SafetensorError

        try:
            self._write(snapshot)
        except (OSError, SafetensorError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._log(
                {
                    "event": "warning",
                    "message": f"no checkpoint was written after step {snapshot.step}: {why}; the one before is kept",
                }
            )
        self._last = time.monotonic()

    def load(self) -> Snapshot | None:
        """The last snapshot, or None where there is none that can be read; what is left of one is removed then."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not self.written:
            self.clear()
            return None
        try:
            manifest = read_json(self.folder / MANIFEST)
            if manifest["format"] != FORMAT:
                raise ValueError(f"unknown format {manifest['format']}")
            best = manifest["best"]
            snapshot = Snapshot(
                step=manifest["step"],
                state=load_file(self.folder / manifest["state"]),
                best_step=manifest["best_step"],
                best=load_file(self.folder / best) if best else {},
                values=manifest["values"],
            )
        except (OSError, SafetensorError, ValueError, LookupError, TypeError) as error:
            self._log(
                {"event": "warning", "message": f"the checkpoint cannot be read ({error}); training starts anew"}
            )
            self.clear()
            return None
        self.earlier_seconds = float(manifest["seconds"])
        return snapshot

    def clear(self) -> None:
        """Remove it: the run is complete, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, snapshot: Snapshot) -> None:
        state = f"state-{snapshot.step}.safetensors"
        best = None if snapshot.best_step is None else f"best-{snapshot.best_step}.safetensors"
        named = {MANIFEST, state, *([best] if best else [])}
        try:
            self._tensors(state, snapshot.state)
            if best and not (self.folder / best).is_file():
                self._tensors(best, snapshot.best)
            write_json(
                self.folder / MANIFEST,
                {
                    "format": FORMAT,
                    "step": snapshot.step,
                    "state": state,
                    "best_step": snapshot.best_step,
                    "best": best,
                    "seconds": self.earlier_seconds + time.monotonic() - self._began,
                    "values": snapshot.values,
                },
            )
        except BaseException:
            self._prune(self._named())
            raise
        self._prune(named)

    def _tensors(self, name: str, tensors: dict[str, Tensor]) -> None:
        from safetensors.torch import save_file

        with atomic_path(self.folder / name) as temporary:
            save_file(tensors, temporary)

    def _named(self) -> set[str]:
        """The files that the checkpoint on disk consists of."""
        if not self.written:
            return set()
        manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return {MANIFEST, manifest["state"], *([manifest["best"]] if manifest["best"] else [])}

    def _prune(self, keep: set[str]) -> None:
        """Remove everything but these, temporary names that a killed process left among it."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name in keep:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def resumable_step(folder: Path) -> int | None:
    """The step that a checkpoint folder goes on from, or None where it holds no checkpoint."""
    try:
        return int(read_json(folder / MANIFEST)["step"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
