"""Runs the tests of a module against its mutants: each in a forked process, whose import gives the mutant instead."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from tests.mutation.mutants import Mutant, find_mutants

# Imported once, so that a forked process need not. None of ours: what a mutant is imported by must be imported anew.
LIBRARIES = ("hypothesis", "peft", "polars", "pyarrow.parquet", "pydantic", "scipy.stats", "sklearn.linear_model",
             "torch", "transformers", "yaml")  # fmt: skip
LEAST_TIMEOUT_SECONDS = 30.0
TIMEOUT_FACTOR = 4.0


@dataclass(frozen=True)
class Target:
    """A module and the tests that are to protect it.

    Attributes:
        module: its dotted name.
        file: its source.
        tests: files or folders of tests.
    """

    module: str
    file: Path
    tests: tuple[str, ...]

    def mutants(self) -> list[Mutant]:
        """Its mutants, each of a tree of its own, so that one can be applied without the others."""
        return find_mutants(ast.parse(self.file.read_bytes()))


@dataclass
class Coverage:
    """Which test runs which lines of a module, and how long it takes.

    Attributes:
        seconds: test → duration.
        lines: line → the tests that run it.
        shared: lines that run while a test is set up; what that builds may be shared by all of them.
        modules: what the tests have imported of the target's package.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[int, list[str]] = field(default_factory=dict)
    shared: list[int] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that could notice a mutant, the fast ones first."""
        span = None if mutant.lines is None else range(mutant.lines[0], mutant.lines[1] + 1)
        if span is None or not set(span).isdisjoint(self.shared):
            chosen = set(self.seconds)
        else:
            chosen = {test for line in span for test in self.lines.get(line, ())}
        return sorted(chosen, key=lambda test: (self.seconds[test], test))


class UnchangedFailError(Exception):
    """The tests of a module fail although nothing was changed."""


def prepare() -> None:
    """Import what every forked process needs, pytest's plugins among it."""
    for name in LIBRARIES:
        importlib.import_module(name)
    with redirect_stdout(io.StringIO()):
        pytest.main(["--markers", "--noconftest"])


def import_others(target: Target, names: Sequence[str]) -> None:
    """Import modules that do not need the target's; those that do must be imported anew with every mutant.

    What is imported here may need another target, so this belongs into a process for one target alone.
    """
    sys.meta_path.insert(0, _Blocked(target))
    for name in names:
        with suppress(ImportError):  # and it is taken out of `sys.modules` again
            importlib.import_module(name)
    sys.meta_path.pop(0)


def measure(target: Target) -> Coverage:
    """Run the tests of a module unchanged.

    Raises:
        UnchangedFailError: they fail, or there are none.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"

        def work() -> int:
            tracer = _Tracer(str(target.file.resolve()))
            status = _run_tests(target, tracer)
            package = target.module.partition(".")[0]
            modules = [name for name in sys.modules if name.startswith(f"{package}.")]
            report.write_text(json.dumps({**tracer.report(), "modules": modules}), encoding="utf-8")
            return status

        if in_fork(work, quiet=True):
            raise UnchangedFailError(f"{target.module}: its tests fail unchanged: pytest {' '.join(target.tests)}")
        found = json.loads(report.read_text(encoding="utf-8"))
    lines = {int(line): tests for line, tests in found["lines"].items()}
    return Coverage(found["seconds"], lines, found["shared"], found["modules"])


def survives(target: Target, number: int, tests: Sequence[str], coverage: Coverage) -> bool:
    """Whether all the tests pass with the mutant of that number."""
    if not tests:
        return True
    timeout = max(LEAST_TIMEOUT_SECONDS, TIMEOUT_FACTOR * max(coverage.seconds[test] for test in tests))

    def work() -> int:
        tree = ast.parse(target.file.read_bytes())
        find_mutants(tree)[number].apply()
        sys.meta_path.insert(0, _Finder(target, compile(ast.fix_missing_locations(tree), target.file, "exec")))
        return _run_tests(target, _Chosen(tests), f"--timeout={timeout:.0f}", "-x")

    return in_fork(work, quiet=True) == 0


def _run_tests(target: Target, plugin: object, *options: str) -> int:
    from hypothesis import Phase, settings

    # A counterexample is enough; the smallest one takes much longer.
    settings.register_profile(
        "mutation", database=None, derandomize=True, deadline=None, phases=(Phase.explicit, Phase.generate)
    )
    words = ["-q", "-m", "not slow", "--hypothesis-profile=mutation", *options, *target.tests]
    return int(pytest.main(words, plugins=[plugin]))


def in_fork(work: Callable[[], int], quiet: bool = False) -> int:
    """The exit status of some work in a process of its own, whose output may be kept from sight."""
    sys.stdout.flush()
    process = os.fork()
    if not process:
        status = 1
        try:
            if quiet:
                nothing = os.open(os.devnull, os.O_RDWR)
                for stream in (1, 2):
                    os.dup2(nothing, stream)
            status = work()
        finally:
            os._exit(status)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except KeyboardInterrupt:
        os.waitpid(process, 0)  # it was interrupted as well
        raise


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, target: Target, code: CodeType) -> None:
        self.target, self.code = target, code

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self.target.module:
            return None
        return importlib.util.spec_from_file_location(
            name, self.target.file, loader=_Loader(name, str(self.target.file), self.code)
        )


class _Blocked(importlib.abc.MetaPathFinder):
    def __init__(self, target: Target) -> None:
        self.target = target

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == self.target.module:
            raise ImportError(name)
        return None


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Chosen:
    """Runs the given tests only, in their order as far as modules allow (what a module shares is built once)."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.place = {test: i for i, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self.place]
        first: dict[Path, int] = defaultdict(lambda: len(self.place))
        for item in chosen:
            first[item.path] = min(first[item.path], self.place[item.nodeid])
        items[:] = sorted(chosen, key=lambda item: (first[item.path], self.place[item.nodeid]))


class _Tracer:
    """Notes which test runs which lines of a file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.hit: set[int] = set()
        self.shared: set[int] = set()
        self.by_line: dict[int, list[str]] = defaultdict(list)
        self.seconds: dict[str, float] = {}

    def report(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "lines": self.by_line, "shared": sorted(self.shared)}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        with self._tracing():
            yield
        self.shared |= self.hit

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        began = time.perf_counter()
        with self._tracing():
            yield
        self.seconds[item.nodeid] = time.perf_counter() - began
        for line in self.hit:
            self.by_line[line].append(item.nodeid)

    @contextmanager
    def _tracing(self) -> Iterator[None]:
        self.hit = set()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._step if frame.f_code.co_filename == self.file else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.hit.add(frame.f_lineno)
        return self._step
