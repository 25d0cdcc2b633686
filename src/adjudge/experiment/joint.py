"""Recipes of several tasks: one training of one trunk with a head for each task, then an ordinary run for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from adjudge.core.config import StrictModel, apply_overrides, parse_override, read_yaml, validate
from adjudge.core.errors import ConfigError
from adjudge.core.protocols import Progress, SilentProgress
from adjudge.experiment.inputs import Inputs
from adjudge.experiment.load import load_inputs, token_counter
from adjudge.experiment.resume import can_resume
from adjudge.experiment.runner import Outcome, RunEvent, one_run, reserved
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.methods.method import FurtherTask, Joint
from adjudge.recipe.recipe import LoadedRecipe, PlannedRun, identity, plan, resolve_recipe


class Mixing(StrictModel):
    """How the tasks' steps are mixed."""

    temperature: float = Field(
        1.0, gt=0, description="a task's share of the steps goes by its rows to the power of 1 / temperature"
    )


class JointKeys(StrictModel):
    """What a recipe of several tasks has in the place of `task` and `data`."""

    tasks: list[str | dict[str, Any]] = Field(min_length=1, description="task files or tasks, each with its own data")
    mixing: Mixing = Field(default_factory=Mixing, description="how the tasks' steps are mixed")


@dataclass(frozen=True)
class JointRecipe:
    """A recipe of several tasks, resolved.

    Attributes:
        name: of the recipe; the runs of a task go to ``<name>-<task>/``.
        members: one ordinary recipe for each task, with the same methods.
        temperature: how they are mixed.
        path: the recipe file.
    """

    name: str
    members: tuple[LoadedRecipe, ...]
    temperature: float
    path: Path

    def allowing_bad_rows(self, most: int) -> JointRecipe:
        """The same recipe, of each data file of which this many bad rows may be left out."""
        return replace(self, members=tuple(member.allowing_bad_rows(most) for member in self.members))


def is_joint(path: Path) -> bool:
    """Whether a recipe file names several tasks.

    Raises:
        ConfigError: it cannot be read.
    """
    return "tasks" in read_yaml(path)


def load_joint(path: Path, *, overrides: Sequence[str] = (), data_root: Path | None = None) -> JointRecipe:
    """Read a recipe of several tasks; for the arguments, see `load_recipe`.

    Raises:
        ConfigError: every problem of the recipe, its tasks and methods; or a method that is not trained in steps.
    """
    raw: dict[str, Any] = {"name": path.stem, **read_yaml(path)}
    own = [override for override in overrides if parse_override(override)[0][0] in JointKeys.model_fields]
    raw = apply_overrides(raw, own)
    keys = validate(JointKeys, {key: raw.pop(key) for key in JointKeys.model_fields if key in raw}, str(path))
    problems = [
        f"{path}: {key}: cannot stand beside `tasks`, of which each names its own"
        for key in ("task", "data")
        if key in raw
    ]
    rest = [override for override in overrides if override not in own]
    members: list[LoadedRecipe] = []
    for task in keys.tasks:
        try:
            found = resolve_recipe({**raw, "task": task}, path, overrides=rest, data_root=data_root)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        members.append(
            replace(found, recipe=found.recipe.model_copy(update={"name": f"{found.name}-{found.task.name}"}))
        )
    names = [member.task.name for member in members]
    problems += [
        f"{path}: tasks: two are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for method in members[0].methods if members else ():
        if not hasattr(method.options, "training"):
            problems.append(
                f"{path}: methods: {method.name!r} is not trained in steps, so it learns one task at a time"
            )
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    described = {"temperature": keys.mixing.temperature, "tasks": [identity(member) for member in members]}
    joined = tuple(replace(member, joint=described) for member in members)
    return JointRecipe(str(raw["name"]), joined, keys.mixing.temperature, path)


def run_joint(
    recipe: JointRecipe,
    *,
    runs: Path = Path("runs"),
    progress: Progress | None = None,
    on_event: Callable[[RunEvent], None] | None = None,
    resume: bool = False,
) -> list[Outcome]:
    """Execute what is not complete yet: for each method, model and seed one training, and a run for each task.

    The training is part of the first of its runs that is not complete, which holds its checkpoint and its log. Where
    only some of them are complete, it is done again, with the same result. Otherwise as `run_recipe`.

    Raises:
        ConfigError, ModelNotFoundError: the plan cannot work; nothing was written.
        DataError: the data cannot be read, or the gate found errors that are not accepted; no run was started.
        WorkError: ``runs`` cannot be written, or another process works on one of the tasks.
        KeyboardInterrupt: the run that was interrupted is marked so.
    """
    shown = progress or SilentProgress()
    plans = [plan(member) for member in recipe.members]
    counter = token_counter(plans[0])
    folders = [runs / member.name for member in recipe.members]
    outcomes: list[Outcome] = []
    total = sum(map(len, plans))
    with ExitStack() as held:
        for folder in folders:
            held.enter_context(reserved(folder))
        inputs = [
            load_inputs(member, folder, counter, None, shown)
            for member, folder in zip(recipe.members, folders, strict=True)
        ]
        for group in zip(*plans, strict=True):
            training = _Training(group[0], inputs, recipe.temperature)
            for position, (planned, folder) in enumerate(zip(group, folders, strict=True)):
                index = len(outcomes) + 1
                goes_on = resume and can_resume(folder / planned.name)
                if on_event is not None:
                    on_event(RunEvent("start", planned, index, total, resumed=goes_on))
                fit = training.of(position, planned.name)
                outcome = one_run(planned, inputs[position], folder / planned.name, shown, resume=goes_on, fit=fit)
                outcomes.append(outcome)
                if on_event is not None:
                    on_event(RunEvent(outcome.status, planned, index, total, outcome))
    return outcomes


class _Training:
    """One training, done when the first of its runs asks for it, and handed to the others.

    Args:
        planned: its method and seed.
        inputs: of every task, in the recipe's order, in which they are learnt whichever run asks.
        temperature: how they are mixed.
    """

    def __init__(self, planned: PlannedRun, inputs: Sequence[Inputs], temperature: float) -> None:
        self._planned, self._inputs, self._temperature = planned, inputs, temperature
        self._done: tuple[str, tuple[Fitted, ...]] | None = None
        self._error: Exception | None = None

    def of(self, position: int, run: str) -> Callable[[Setting], Fitted]:
        """The fit of one task's run."""

        def fit(setting: Setting) -> Fitted:
            if self._error is not None:
                raise self._error
            if self._done is None:
                try:
                    self._done = run, self._train(setting)
                except Exception as error:
                    self._error = error
                    raise
            else:
                message = f"the training, its steps and evaluations are in the log of {self._done[0]}"
                setting.log({"event": "note", "message": message})
            return self._done[1][position]

        return fit

    def _train(self, setting: Setting) -> tuple[Fitted, ...]:
        first, *others = self._inputs
        tasks = [FurtherTask(one.recipe.task, one.labels, one.train, one.validation) for one in others]
        joint = Joint(tuple(tasks), self._temperature)
        own = replace(setting, task=first.recipe.task, labels=first.labels, joint=joint)
        began = time.perf_counter()
        method = METHODS.load(self._planned.method)
        fitted = method.fit(first.train, first.validation, self._planned.options, own)
        earlier = setting.checkpoints.earlier_seconds if setting.checkpoints else 0.0
        seconds = earlier + time.perf_counter() - began
        every = (replace(fitted, further=()), *fitted.further)
        for one in every:
            one.facts["train_seconds"] = seconds
        return every
