"""Interleaved rounds: in each, every contender is started anew, works alone on the machine, and is gone."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from environments import EnvironmentUnavailableError, interpreter

CONTENDERS = Path(__file__).parent / "contenders"
REPLIES = "BENCHMARK_REPLIES"  # as in contenders/pace.py, which other environments import
LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Contender:
    """What takes part.

    Attributes:
        name: in tables.
        environment: of `environments.interpreter`.
        script: in `contenders/`.
        job: what the script is told; JSON-ready.
        amount: units of its turns; None takes the plan's.
    """

    name: str
    environment: str
    script: str
    job: dict[str, Any]
    amount: int | None = None


@dataclass
class Outcome:
    """What one contender did.

    Attributes:
        turns: one dictionary a round: ``units``, ``seconds``, ``processor_seconds``, ``rows`` …
        facts: what it said at the end of the last round: versions, peak memory, held-out loss …
        start_seconds: from the start of its last process until everything was loaded.
        failed: why it is missing or ended early, or None.
    """

    turns: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    start_seconds: float = 0.0
    failed: str | None = None

    def rates(self) -> list[float]:
        """Rows per second of every round."""
        return [turn["rows"] / turn["seconds"] for turn in self.turns]

    @property
    def rate(self) -> float | None:
        """Median rows per second, or None where nothing was measured."""
        return statistics.median(self.rates()) if self.turns else None


@dataclass(frozen=True)
class Plan:
    """How rounds are run.

    Attributes:
        rounds: timed turns of each contender.
        amount: units of a turn.
        warm: untimed units at the start of each turn: they fill caches and choose kernels.
        threads: of every contender.
        environments: folder of the virtual environments.
        scratch: folder for jobs, adapters and what the contenders print.
    """

    rounds: int
    amount: int
    warm: int
    threads: int
    environments: Path
    scratch: Path


class ContenderFailedError(Exception):
    """A contender's process ended or hung; the message is what it said last."""


class Worker:
    """One contender's process."""

    def __init__(self, contender: Contender, plan: Plan, number: int) -> None:
        python = interpreter(contender.environment, plan.environments)
        self._folder = plan.scratch / f"{contender.name}-{number}"
        self._folder.mkdir(parents=True)
        job = self._folder / "job.json"
        job.write_text(json.dumps(contender.job | {"scratch": str(self._folder)}), encoding="utf-8")
        reading, writing = os.pipe()
        threads = str(plan.threads)
        environment = os.environ | {
            REPLIES: str(writing),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(self._folder / "datasets"),
            "CUDA_VISIBLE_DEVICES": contender.job.get("gpus", ""),
        }
        with (self._folder / "printed.txt").open("w", encoding="utf-8") as printed:
            self._process = subprocess.Popen(
                [python, CONTENDERS / contender.script, job],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                env=environment,
                cwd=self._folder,
                text=True,
            )
        os.close(writing)
        self._replies: IO[str] = os.fdopen(reading, "r", encoding="utf-8")

    def ask(self, amount: int | None) -> None:
        """Give it a turn."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"amount": amount}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ContenderFailedError(self._last_words()) from error

    def reply(self) -> dict[str, Any]:
        """Its next reply.

        Raises:
            ContenderFailedError: it ended without one, or took longer than `LIMIT_SECONDS`.
        """
        readable, _, _ = select.select([self._replies], [], [], LIMIT_SECONDS)
        line = self._replies.readline() if readable else ""
        if not line:
            self.stop()
            raise ContenderFailedError(self._last_words() if readable else f"no reply in {LIMIT_SECONDS:.0f} s")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End its process and wait for that."""
        self._process.kill()
        self._process.wait()

    def wait(self) -> None:
        """Let it end by itself, for a while."""
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.stop()

    def _last_words(self) -> str:
        lines = (self._folder / "printed.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " ".join((lines or ["it said nothing"])[-1].split())[-500:]


def run_rounds(contenders: Sequence[Contender], plan: Plan) -> dict[str, Outcome]:
    """Give each contender its turns, in an order that rotates by round.

    Nobody waits in memory while others work: a system takes memory back from those who do, and the next turn would
    pay for that. In the last round a contender also does the rest of its work, untimed, and says its facts. One that
    cannot be had or fails is reported with the reason and left out of the rounds that follow.
    """
    outcomes = {contender.name: Outcome() for contender in contenders}
    for number in range(plan.rounds):
        shift = number % max(1, len(contenders))
        for contender in [*contenders[shift:], *contenders[:shift]]:
            outcome = outcomes[contender.name]
            if outcome.failed is None:
                _turn(contender, plan, number, outcome)
    return outcomes


def _turn(contender: Contender, plan: Plan, number: int, outcome: Outcome) -> None:
    worker = None
    try:
        began = time.perf_counter()
        worker = Worker(contender, plan, number)
        worker.reply()
        outcome.start_seconds = time.perf_counter() - began
        if plan.warm:
            worker.ask(plan.warm)
            worker.reply()
        worker.ask(contender.amount or plan.amount)
        ended = _take(worker.reply(), outcome)
        say(f"round {number + 1}, {contender.name}: {outcome.rates()[-1]:.2f} rows/s")
        if number + 1 == plan.rounds:
            _end(worker, outcome, ended=ended)
    except (EnvironmentUnavailableError, ContenderFailedError) as error:
        outcome.failed = str(error)
        say(f"round {number + 1}, {contender.name}: {error}")
    finally:
        if worker is not None:
            worker.stop()


def _end(worker: Worker, outcome: Outcome, *, ended: bool) -> None:
    """The rest of its work, which nobody times."""
    if not ended:
        worker.ask(None)
    while not ended:
        ended = _take(worker.reply(), outcome)
    worker.wait()


def _take(reply: dict[str, Any], outcome: Outcome) -> bool:
    """Keep what was replied; whether that was the end."""
    if "turn" in reply:
        outcome.turns.append(reply["turn"])
    if "end" in reply:
        outcome.facts = reply["end"]
    return "end" in reply


def say(line: str) -> None:
    """A line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)
