"""Mutation testing of the modules in modules.yaml: ``make mutants``, or ``python -m tests.mutation --help``.

Every mutant is a module with one small change. A mutant that the tests let pass is a hole in the tests, or it is
accepted in modules.yaml with a reason. Results are kept in .mutants/, so that an interrupted run goes on where it was:
a killed mutant counts until its module changes, a survivor until its module or its tests do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from adjudge.core.config import read_yaml
from tests.mutation.runner import (
    Coverage,
    Target,
    UnchangedFailError,
    import_others,
    in_fork,
    measure,
    prepare,
    survives,
)

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "adjudge"
STORE = ROOT / ".mutants"
MODULES = Path(__file__).parent / "modules.yaml"


@dataclass(frozen=True)
class Module:
    """An entry of modules.yaml: a target, and the survivors that are accepted, each with its reason."""

    name: str
    target: Target
    accepted: dict[str, str]


def load_modules(chosen: Sequence[str] = ()) -> list[Module]:
    """The modules of modules.yaml, or those whose name begins with one of the chosen.

    Raises:
        SystemExit: a choice that fits no module.
    """
    entries: dict[str, dict[str, Any]] = read_yaml(MODULES)
    for choice in chosen:
        if not any(name.startswith(choice) for name in entries):
            raise SystemExit(f"{choice}: no module of {MODULES.name}; there are {', '.join(entries)}")
    return [
        Module(name, _target(name, entry["tests"]), entry.get("accepted") or {})
        for name, entry in entries.items()
        if not chosen or name.startswith(tuple(chosen))
    ]


def _target(name: str, tests: Sequence[str]) -> Target:
    dotted = ".".join(["adjudge", *Path(name).with_suffix("").parts])
    return Target(dotted, SOURCE / name, tuple(f"tests/{test}" for test in tests))


class Results:
    """What became of the mutants of a module, on disk: name → whether it survived."""

    def __init__(self, module: Module, store: Path = STORE) -> None:
        self.file = store / f"{module.target.module}.jsonl"
        self.source = _digest([module.target.file])
        self.tests = _digest([file for test in module.target.tests for file in _files(ROOT / test)])
        self.known: dict[str, bool] = {}
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        for entry in map(json.loads, lines):
            if entry["source"] == self.source and (not entry["survived"] or entry["tests"] == self.tests):
                self.known[entry["name"]] = entry["survived"]

    def add(self, name: str, survived: bool) -> None:
        """Keep a result."""
        self.known[name] = survived
        self.file.parent.mkdir(exist_ok=True)
        entry = {"name": name, "survived": survived, "source": self.source, "tests": self.tests}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _files(test: Path) -> list[Path]:
    return sorted(test.rglob("*.py")) if test.is_dir() else [test]


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def check(module: Module, limit: int | None) -> int:
    """Try mutants of a module that were not tried yet, at most ``limit``; 0 where nothing is left to mend, else 1."""
    mutants, results = module.target.mutants(), Results(module)
    # In an order that has nothing to do with the text, so that a limited run looks everywhere.
    order = sorted(range(len(mutants)), key=lambda i: hashlib.sha256(mutants[i].name.encode()).digest())
    open_numbers = [i for i in order if mutants[i].name not in results.known][:limit]
    try:
        coverage = measure(module.target) if open_numbers else Coverage()
    except UnchangedFailError as error:
        _say(str(error))
        return 1
    import_others(module.target, coverage.modules)
    for number in open_numbers:
        name = mutants[number].name
        results.add(name, survives(module.target, number, coverage.tests_of(mutants[number]), coverage))
        if results.known[name] and name not in module.accepted:
            _say(f"{module.name}: survived: {name}")
    return _summarise(module, [mutant.name for mutant in mutants], results)


def _summarise(module: Module, names: Sequence[str], results: Results) -> int:
    survivors = [name for name in names if results.known.get(name)]
    killed = [name for name in names if results.known.get(name) is False]
    open_holes = [name for name in survivors if name not in module.accepted]
    outdated = [name for name in module.accepted if name not in names or name in killed]
    _say(
        f"{module.name}: {len(names)} mutants, {len(killed)} killed, {len(survivors) - len(open_holes)} accepted, "
        f"{len(open_holes)} survived, {len(names) - len(killed) - len(survivors)} not tried"
    )
    for name in open_holes:
        _say(f"  survived: {name}")
    for name in outdated:
        _say(f"  accepted, but {'killed' if name in killed else 'not there'}: {name}")
    return 1 if open_holes or outdated else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command


def main(words: Sequence[str] | None = None) -> int:
    """Check the chosen modules; 1 where a mutant survived that is not accepted, or an accepted one did not."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="modules as in modules.yaml, or how their names begin: evaluate/")
    parser.add_argument("--limit", type=int, help="try at most so many mutants of each module, from all over it")
    parser.add_argument("--list", action="store_true", help="list the mutants, and try none")
    chosen = parser.parse_args(words)
    modules = load_modules(chosen.modules)
    if chosen.list:
        for module in modules:
            for mutant in module.target.mutants():
                _say(f"{module.name}: {mutant.name}")
        return 0
    prepare()
    return max([in_fork(partial(check, module, chosen.limit)) for module in modules])


if __name__ == "__main__":
    sys.exit(main())
