from __future__ import annotations

from pathlib import Path

import pytest
from runs_builder import Spec, build_run, make_rows, realistic_specs

from adjudge.compare.comparison import CompareOptions, Comparison, Constant, compare_runs
from adjudge.core.runs import Run

FAST = 300
"""Resamples that are enough for a test of logic."""


@pytest.fixture(scope="session")
def realistic_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    root = tmp_path_factory.mktemp("moods")
    rows = make_rows(600)
    return [build_run(root, spec, rows) for spec in realistic_specs()]


@pytest.fixture(scope="session")
def realistic(realistic_runs: list[Run]) -> Comparison:
    published = Constant("A published model", 0.9262, "a table")
    return compare_runs(realistic_runs, CompareOptions(resamples=FAST, constants=(published,)))


@pytest.fixture
def compared(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Build runs of these specs on shared rows and compare them."""

    def build(*specs: Spec, rows: int = 600, **options: object) -> Comparison:
        shared = make_rows(rows)
        runs = [build_run(tmp_path, spec, shared) for spec in specs]
        return compare_runs(runs, CompareOptions(**{"resamples": FAST, **options}))

    return build
