"""The runner: data loaded and gated once, then every planned run: skip what is complete, go on after a failure."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adjudge.core.errors import UsageError, WorkError
from adjudge.core.protocols import Progress, SilentProgress
from adjudge.core.runs import Run
from adjudge.experiment.continuing import starting_point
from adjudge.experiment.execute import FitTask, execute
from adjudge.experiment.inputs import Inputs, split_records
from adjudge.experiment.load import load_inputs, token_counter
from adjudge.experiment.lock import exclusive
from adjudge.experiment.resume import can_resume, clear_checkpoint
from adjudge.recipe.recipe import LoadedRecipe, PlannedRun, plan

OutcomeStatus = Literal["complete", "skipped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How one planned run ended.

    Attributes:
        folder: the run folder.
        status: ``skipped`` means that it was complete before.
        error: why it failed, in one line.
        seconds: how long it took here.
    """

    planned: PlannedRun
    folder: Path
    status: OutcomeStatus
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class RunEvent:
    """Something that whoever watches wants to know.

    Attributes:
        kind: ``start`` of a run, or how it ended.
        index: 1-based number of the run in the plan.
        total: runs in the plan.
        outcome: None at the start.
        resumed: whether a run goes on from a checkpoint.
    """

    kind: Literal["start", "complete", "skipped", "failed"]
    planned: PlannedRun
    index: int
    total: int
    outcome: Outcome | None = None
    resumed: bool = False


def run_recipe(
    recipe: LoadedRecipe,
    *,
    runs: Path = Path("runs"),
    progress: Progress | None = None,
    on_event: Callable[[RunEvent], None] | None = None,
    resume: bool = False,
    start: Path | None = None,
) -> list[Outcome]:
    """Execute every run of a recipe that is not complete yet, each into ``<runs>/<recipe>/<run>/``.

    A run that fails is recorded and the others go on. What an earlier, incomplete attempt left is moved to
    ``<runs>/<recipe>/.aside/``, unless it is resumed; a complete run is never touched. Splits are saved in
    ``split.json`` and reused.

    Args:
        recipe: as `load_recipe` gives it.
        runs: folder of all runs.
        progress: where to show how far the work is.
        on_event: called at the start and the end of every run.
        resume: go on from the checkpoint that an interrupted training left, where there is one.
        start: folder of a complete run whose classifier is trained on, or None.

    Returns:
        One outcome for each planned run, in order.

    Raises:
        ConfigError, ModelNotFoundError: the plan cannot work; nothing was written.
        DataError: the data cannot be read, or the gate found errors that are not accepted; no run was started.
        WorkError: ``runs`` is a file, cannot be written, or another process works on this recipe.
        KeyboardInterrupt: the run that was interrupted is marked so.
    """
    shown = progress or SilentProgress()
    origin = None if start is None else starting_point(start)
    planned = plan(recipe, None if origin is None else origin.identity())
    if origin is not None:
        origin.require_plan(planned)
    counter = token_counter(planned)
    folder = runs / recipe.name
    with reserved(folder):
        inputs = load_inputs(recipe, folder, counter, origin, shown)
        outcomes = []
        for index, one in enumerate(planned, start=1):
            goes_on = resume and can_resume(folder / one.name)
            if on_event is not None:
                on_event(RunEvent("start", one, index, len(planned), resumed=goes_on))
            outcome = one_run(one, inputs, folder / one.name, shown, resume=goes_on)
            outcomes.append(outcome)
            if on_event is not None:
                on_event(RunEvent(outcome.status, one, index, len(planned), outcome))
    return outcomes


def one_run(
    planned: PlannedRun,
    inputs: Inputs,
    folder: Path,
    progress: Progress,
    *,
    resume: bool,
    fit: FitTask | None = None,
) -> Outcome:
    """Do a run that is not complete yet; for the arguments, see `execute`."""
    if (folder / "run.json").is_file():
        record = Run(folder).record()
        complete = record["status"] == "complete"
        if complete or resume:
            changed = _changed_data(record, inputs)
            if complete:
                clear_checkpoint(folder)  # a kill in the last moment may have left it
            if complete or changed:
                return Outcome(planned, folder, "failed" if changed else "skipped", changed)
    began = time.perf_counter()
    try:
        if not resume:
            _move_aside(folder)
        error = execute(planned, inputs, folder, progress, resume=resume, fit=fit)
    except OSError as problem:
        error = f"{folder.name}: {problem.strerror or problem}"
    return Outcome(planned, folder, "failed" if error else "complete", error, time.perf_counter() - began)


def _changed_data(record: dict[str, Any], inputs: Inputs) -> str | None:
    """Why an earlier run of the same name does not stand for this data, or None where it does.

    Local files are part of a run's hash; this finds a hub data set or a database that has changed since.
    """
    before = {name: split["hash"] for name, split in record["data"]["splits"].items()}
    now = {name: split["hash"] for name, split in split_records(inputs).items()}
    different = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not different:
        return None
    return (
        f"{record['name']}: is {record['status']}, but was made with other rows in {', '.join(different)}; "
        "give the recipe another name to run on the data as it is now"
    )


def _move_aside(folder: Path) -> None:
    """Keep what an incomplete attempt left, out of the way of everything that looks for runs."""
    if not folder.exists():
        return
    aside = folder.parent / ".aside"
    aside.mkdir(exist_ok=True)
    number = 1
    while (aside / f"{folder.name}.{number}").exists():
        number += 1
    folder.rename(aside / f"{folder.name}.{number}")


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Make the recipe's run folder and hold it against a second process for the length of the block.

    Unusable input is found before the first run: a folder that was made for it goes away again.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except (FileExistsError, NotADirectoryError) as error:
        blocking = next(path for path in (folder, *folder.parents) if path.exists())
        raise WorkError(
            f"{blocking}: is a file where the folder of the runs should be; "
            "move it away, or name another folder for the runs"
        ) from error
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written: {error.strerror}; nothing was run") from error
    with exclusive(folder / ".lock", f"{folder}: another process is running this recipe; wait until it is done"):
        try:
            yield
        except UsageError:
            if folder in made:
                shutil.rmtree(folder)
                for path in made[1:]:
                    path.rmdir()
            raise
