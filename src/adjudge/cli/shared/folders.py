"""Run folders that commands are given, and where a run made from others goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adjudge.core.errors import UsageError

if TYPE_CHECKING:
    from adjudge.core.runs import Run


def one_run(path: Path) -> Run:
    """The run at a path.

    Raises:
        UsageError: the path holds several runs.
        DataError: it holds none.
    """
    from adjudge.core.runs import find_runs

    below = find_runs([path])
    if len(below) > 1:
        names = ", ".join(run.name for run in below[:10])
        raise UsageError(f"{path}: holds {len(below)} runs; name one of them: {names}")
    return below[0]


def output_folder(source: Run, output: Path | None, name: str | None) -> Path | None:
    """Where a run made from another goes: a folder, or a name beside its source, or None for the default.

    Raises:
        UsageError: both are given, or the name is a path.
    """
    if output is not None and name is not None:
        raise UsageError("give either --output or --name, and not both")
    if name is None:
        return output
    if Path(name).name != name:
        raise UsageError(f"--name {name}: is a path; a name goes beside the run, a folder is given by --output")
    return source.path.resolve().parent / name
