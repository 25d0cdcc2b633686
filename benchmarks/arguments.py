"""The options that all benchmarks share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from environments import VARIABLE, default_root
from rounds import Contender, Plan


def benchmark_parser(text: str | None, *, rounds: int, data: bool = True) -> argparse.ArgumentParser:
    """A parser with the shared options; ``text`` is the program's documentation, ``data`` whether it reads rows."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        parser.add_argument("--data", type=Path, required=True, help="folder of train.txt, val.txt and test.txt")
    parser.add_argument("--rounds", type=int, default=rounds, help="interleaved rounds (default %(default)s)")
    threads = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--threads", type=int, default=threads, help="of every contender (default: cores, %(default)s)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these contenders (default: all)")
    parser.add_argument(
        "--environments",
        type=Path,
        default=default_root(),
        help=f"folder of the peers' virtual environments, made at first use (default: ${VARIABLE}, here %(default)s)",
    )
    parser.add_argument("--no-record", action="store_true", help="print only; nothing is appended to results/")
    return parser


def step_arguments(parser: argparse.ArgumentParser, *, train: int, timed: int, warm: int) -> None:
    """Add the options of a training benchmark: its length, and which of its steps are timed."""
    parser.add_argument(
        "--train-steps", type=int, default=train, help="steps of the training behind the loss (default %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=timed, help="timed steps of a round (default %(default)s)")
    parser.add_argument("--warm", type=int, default=warm, help="untimed steps before them (default %(default)s)")


def training_plan(options: argparse.Namespace, scratch: Path) -> Plan:
    """The rounds of a training benchmark.

    Raises:
        SystemExit: the training is shorter than a round.
    """
    if options.train_steps < options.warm + options.steps:
        raise SystemExit(f"--train-steps {options.train_steps}: a round alone has {options.warm + options.steps}")
    return plan_of(options, scratch, amount=options.steps, warm=options.warm)


def plan_of(options: argparse.Namespace, scratch: Path, *, amount: int, warm: int) -> Plan:
    """The rounds that the options ask for."""
    return Plan(options.rounds, amount, warm, options.threads, options.environments, scratch)


def pick(contenders: Sequence[Contender], only: Sequence[str] | None) -> list[Contender]:
    """The contenders that ``--only`` names.

    Raises:
        SystemExit: it names one that does not exist.
    """
    names = [contender.name for contender in contenders]
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise SystemExit(f"--only: there is no contender {', '.join(unknown)}; there are {', '.join(names)}")
    return [contender for contender in contenders if not only or contender.name in only]
