"""Recipes run with progress on standard error, and the options that change a recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from adjudge.cli.shared.progress import Bars, Lines, progress
from adjudge.cli.shared.screen import duration
from adjudge.core.errors import ConfigError

if TYPE_CHECKING:
    from adjudge.experiment.joint import JointRecipe
    from adjudge.experiment.runner import Outcome, RunEvent
    from adjudge.recipe.recipe import LoadedRecipe


STYLES = {"complete": "green", "skipped": "dim", "failed": "bold red"}


def with_model(settings: Sequence[str] | None, model: str | None) -> list[str]:
    """The ``--set`` overrides, ``--model`` among them."""
    chosen = [] if model is None else [f"method.model={json.dumps(model, ensure_ascii=False)}"]
    return [*(settings or []), *chosen]


def execute(
    loaded: LoadedRecipe | JointRecipe, runs: Path, *, resume: bool = False, start: Path | None = None
) -> list[Outcome]:
    """Run a recipe, of one task or several, with progress on standard error.

    Raises:
        ConfigError: a recipe of several tasks with a run to start from.
    """
    from adjudge.experiment.joint import JointRecipe, run_joint
    from adjudge.experiment.runner import run_recipe

    if isinstance(loaded, JointRecipe) and start is not None:
        raise ConfigError(f"--from {start}: {loaded.path} has several tasks, and a run is of one; give one `task`")
    with progress() as shown:
        if isinstance(loaded, JointRecipe):
            return run_joint(loaded, runs=runs, progress=shown, on_event=_Announcer(shown), resume=resume)
        return run_recipe(loaded, runs=runs, progress=shown, on_event=_Announcer(shown), resume=resume, start=start)


class _Announcer:
    """Says on standard error which run begins and how it ended."""

    def __init__(self, shown: Bars | Lines) -> None:
        self._console = shown.console

    def __call__(self, event: RunEvent) -> None:
        place = f"[dim]{event.index}/{event.total}[/]"
        name = f"[bold]{escape(event.planned.name)}[/]"
        if event.outcome is None:
            resumed = " [dim]goes on from its checkpoint[/]" if event.resumed else ""
            self._console.print(f"{place} {name}{resumed}", soft_wrap=True)
            return
        status = f"[{STYLES[event.kind]}]{event.kind}[/]"
        detail = f" in {duration(event.outcome.seconds)}" if event.kind == "complete" else ""
        if event.outcome.error is not None:
            detail = f": {escape(event.outcome.error)}"
        self._console.print(f"{place} {name} {status}{detail}", soft_wrap=True)
