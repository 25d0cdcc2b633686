"""Turn-taking between a benchmark program and one contender, which runs in a process and environment of its own.

The program writes one JSON line a turn to the contender's standard input: ``{"amount": n}`` asks for n units (steps or
rows), ``{"amount": null}`` for the rest. Replies go to a pipe of their own, since the libraries under test print what
they like. A contender loads its model, and then waits to be asked.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("adjudge", "torch", "transformers", "peft", "accelerate", "trl", "llamafactory", "lm_eval", "ms-swift")
REPLIES = "BENCHMARK_REPLIES"


class Pace:
    """One contender's side. Time runs from a turn's request to the end of its last unit, and nowhere else."""

    def __init__(self) -> None:
        self._replies = os.fdopen(int(os.environ[REPLIES]), "w", encoding="utf-8")
        self._allowed: int | None = 0
        self._counts: dict[str, int] = {}
        self._units = 0
        self._unfinished: dict[str, Any] | None = None
        self._began = self._began_cpu = 0.0

    def wait(self) -> int | None:
        """Wait for a turn.

        Returns:
            How many units it has; None asks for the rest, without anybody timing it.
        """
        line = sys.stdin.readline()
        if not line:
            sys.exit("the benchmark program is gone")
        self._allowed = json.loads(line)["amount"]
        self._units, self._counts = 0, {}
        self._began, self._began_cpu = time.perf_counter(), time.process_time()
        return self._allowed

    def ready(self) -> None:
        """Say that everything is loaded; the first turn is waited for next."""
        self._send({"ready": True})

    def count(self, **amounts: int) -> None:
        """Add to this turn's counts: rows, tokens …"""
        for name, amount in amounts.items():
            self._counts[name] = self._counts.get(name, 0) + amount

    def unit_done(self) -> None:
        """A unit is finished; at the end of the turn it is reported and the next turn waited for."""
        self._units += 1
        if self._units == self._allowed:
            self.report()
            self.wait()

    def report(self, **more: Any) -> None:
        """Report this turn."""
        self._send({"turn": self._turn() | more})

    def end(self, **facts: Any) -> None:
        """Report the facts about the whole; nothing follows.

        A turn that the work's end cut short goes with them: see `close_turn`.
        """
        facts["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            facts["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
        facts["versions"] = versions()
        self._send({"end": facts} | ({"turn": self._unfinished} if self._unfinished else {}))

    def close_turn(self) -> None:
        """The work is over; a turn that is not full ends here."""
        self._unfinished = self._turn() if self._allowed is not None and self._units else None

    def _turn(self) -> dict[str, Any]:
        seconds, processor_seconds = time.perf_counter() - self._began, time.process_time() - self._began_cpu
        return {"units": self._units, "seconds": seconds, "processor_seconds": processor_seconds} | self._counts

    def _send(self, reply: dict[str, Any]) -> None:
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()


def read_job() -> dict[str, Any]:
    """The job that the command line names."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return job


def versions() -> dict[str, str]:
    """Python and the libraries of this environment that a benchmark is about."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
