"""The runner: data loaded and gated once, then every planned run: skip what is complete, go on after a failure."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adjudge.core.errors import DataError, UsageError, WorkError
from adjudge.core.protocols import Progress, SilentProgress, TokenCounter
from adjudge.core.runs import SPLIT_FILE, Run
from adjudge.core.task import SplitPlan
from adjudge.core.types import Split
from adjudge.data.assign import draw
from adjudge.data.gate import GateOptions, Report, check
from adjudge.data.splits import label_set, load_splits, validate_labels
from adjudge.experiment.continuing import StartingPoint, starting_point
from adjudge.experiment.execute import FitTask, Inputs, execute, split_records
from adjudge.experiment.lock import exclusive
from adjudge.experiment.resume import can_resume, clear_checkpoint
from adjudge.methods.tfidf import out_of_fold
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


def load_inputs(
    recipe: LoadedRecipe, folder: Path, counter: Counter | None, origin: StartingPoint | None, progress: Progress
) -> Inputs:
    """Load, split, gate: once for all runs.

    Raises:
        DataError: the data cannot be used.
    """
    splits = load_splits(recipe.task, recipe.data, base=recipe.base, split_file=folder / SPLIT_FILE)
    if not len(splits.get("validation", ())):
        raise DataError(
            f"{recipe.path}: data: there are no validation rows, and every choice is made on them; "
            "name a validation file, or set `data.split.validation` above 0"
        )
    splits = within_budget(splits, recipe)
    labels = label_set(recipe.task, splits["train"])
    if origin is not None:
        labels = origin.require_labels(labels)
    validate_labels(splits, labels, recipe.task.problem)
    report = gate(splits, labels, recipe, counter, progress)
    found = {finding.code for finding in report.errors(())}
    return Inputs(
        recipe=recipe,
        labels=tuple(labels),
        train=labelled(splits["train"]),
        validation=labelled(splits["validation"]),
        test=splits.get("test"),
        check=report.to_json(),
        accepted=tuple(sorted(found & set(recipe.accepted))),
        cache=folder / ".cache",
        start=origin,
    )


def gate(
    splits: dict[str, Split],
    labels: Sequence[str],
    recipe: LoadedRecipe,
    counter: Counter | None,
    progress: Progress,
) -> Report:
    """Check the data.

    Raises:
        DataError: errors that the recipe does not accept, each with its message.
    """
    options = GateOptions(
        token_counter=counter.count if counter else None,
        model=counter.model if counter else None,
        max_tokens=counter.max_tokens if counter else None,
        out_of_fold=out_of_fold,
        seed=recipe.data.split_seed,
    )
    report = check(splits, labels=labels, options=options, progress=progress, problem=recipe.task.problem)
    errors = report.errors(recipe.accepted)
    if not errors:
        return report
    codes = ", ".join(sorted({finding.code for finding in errors}))
    raise DataError(
        [
            *(f"{' & '.join(finding.splits)}: {finding.code}: {finding.message}" for finding in errors),
            f"{recipe.path}: the data gate found errors and no run was started; repair the data, or accept them "
            f"knowingly with `accept: [{codes}]` in the recipe",
        ]
    )


def labelled(split: Split) -> Split:
    """The rows with a gold label; nothing can be learnt from the others (accepted as `missing_label`)."""
    rows = [i for i, label in enumerate(split.labels) if label is not None]
    return split if len(rows) == len(split) else split.take(rows)


def within_budget(splits: dict[str, Split], recipe: LoadedRecipe) -> dict[str, Split]:
    """The splits with the budget's limit of train rows: a stratified sample drawn by the split's own seed."""
    limit = recipe.recipe.budget.max_train_rows
    if limit is None or limit >= len(splits["train"]):
        return splits
    return draw(splits, recipe.data.model_copy(update={"sample": {"train": limit}, "split": SplitPlan()}))


@dataclass(frozen=True)
class Counter:
    """How the first model of the plan counts tokens, and how many of a text it reads."""

    model: str
    count: TokenCounter
    max_tokens: int | None


def token_counter(planned: Sequence[PlannedRun]) -> Counter | None:
    """Find every model of the plan before any work starts; the first one counts tokens for the gate.

    Raises:
        ModelNotFoundError: a model cannot be had.
    """
    options = {str(name): run.options for run in planned if (name := getattr(run.options, "model", None))}
    if not options:
        return None
    from adjudge.models.trunk.loading import load_tokenizer, locate

    counters = [
        Counter(locate(name).name, load_tokenizer(locate(name)).count, getattr(config, "max_tokens", None))
        for name, config in options.items()
    ]
    return counters[0]
