"""Search: options of each method of a recipe, tried and judged on validation data alone.

Trials are drawn by TPE (Bergstra et al. 2011) and stopped early by the median rule (Golovin et al. 2017): a trial ends
when its validation macro-F1 lies below the median of the others at the same validation. Each method is a study in one
SQLite file, so that a search goes on where it was left. The test split is neither read nor predicted.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adjudge.core.errors import ConfigError, UsageError, WorkError
from adjudge.core.hashing import hash_json
from adjudge.core.optional import require
from adjudge.core.processes import keep_working_folder_out
from adjudge.core.protocols import Progress, SilentProgress, replies_of
from adjudge.core.studies import StudyRecord, TrialRecord, TrialState
from adjudge.evaluate.calibrate import gold_indices
from adjudge.evaluate.metrics import NO_ANSWER, macro_f1
from adjudge.experiment.inputs import Inputs
from adjudge.experiment.load import read_inputs
from adjudge.methods import METHODS, Setting
from adjudge.methods.logistic import validation_macro_f1
from adjudge.methods.targets import label_sets
from adjudge.recipe.recipe import LoadedRecipe, MethodPlan
from adjudge.recipe.search_space import NOTHING_TO_SEARCH, Choice, Space, search_space, with_values

DATABASE = "study.db"
# Trials before TPE and the median rule have something to go by.
STARTUP_TRIALS = 5
_POLL_SECONDS = 0.5
_STATES: dict[str, TrialState] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Search:
    """How much is tried.

    Attributes:
        trials: complete or pruned trials that each study shall have at the end, those of earlier calls among them.
        study: name of the studies in the database.
        jobs: processes.
        timeout_seconds: no trial of a study is begun after this; None: no limit.
        seed: of the sampler.
        method: tune only the entries of this name; None: all.
    """

    trials: int = 30
    study: str = "study"
    jobs: int = 1
    timeout_seconds: float | None = None
    seed: int = 0
    method: str | None = None


@dataclass(frozen=True)
class Target:
    """One entry of a recipe with its space and the name of its study."""

    entry: MethodPlan
    space: Space
    study: str


def targets(recipe: LoadedRecipe, search: Search) -> list[Target]:
    """The entries of a recipe that have something to search.

    Raises:
        ConfigError: a space that cannot be searched, an unknown ``method``, or nothing to search at all.
    """
    names = [entry.name for entry in recipe.methods]
    if search.method is not None and search.method not in names:
        raise ConfigError(f"{recipe.path}: no method is called {search.method!r}; allowed: {', '.join(names)}")
    found = []
    for entry in recipe.methods:
        if search.method not in (None, entry.name):
            continue
        space = search_space(entry.options, entry.search, f"{recipe.path}: methods.{entry.entry} ({entry.name})")
        if space:
            # Another space is another study: values of the one say little about the other.
            shape = {name: _describe(dimension) for name, dimension in space.items()}
            key = hash_json({"options": entry.options.model_dump(mode="json"), "space": shape})[:8]
            found.append(Target(entry, space, f"{search.study}/{entry.name}-{key}"))
    if not found:
        raise ConfigError(
            f"{recipe.path}: nothing to search: {', '.join(names)} ({'; '.join(NOTHING_TO_SEARCH.values())})"
        )
    return found


def tune_recipe(
    recipe: LoadedRecipe, search: Search, *, runs: Path = Path("runs"), progress: Progress | None = None
) -> list[StudyRecord]:
    """Search the options of every method of a recipe that has some.

    Args:
        recipe: as `load_recipe` gives it.
        search: how much is tried.
        runs: folder of all runs; the studies are in ``<runs>/<recipe>/tune/study.db``.
        progress: where bars are drawn.

    Returns:
        One record for each study, in the recipe's order.

    Raises:
        MissingExtraError: Optuna is not installed.
        ConfigError, DataError, ModelNotFoundError: recipe, data or model cannot be used, or the data gate stops it.
        WorkError: another process tunes this recipe, or a trial's process died.
    """
    require("optuna", "tune", "search options")
    from adjudge.experiment.lock import exclusive

    shown = progress or SilentProgress()
    wanted = targets(recipe, search)
    folder = runs / recipe.name / "tune"
    inputs = read_inputs(
        recipe, test=False, gated=shown
    )  # whatever is wrong with the data shows before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock", f"{folder}: another process is tuning this recipe; wait until it is done"):
        for target in wanted:
            _search(target, inputs, search, folder, shown)
    return [record_of(target, folder) for target in wanted]


def _search(target: Target, inputs: Inputs, search: Search, folder: Path, progress: Progress) -> None:
    study = _study(target, folder, search.seed)
    _forget_unfinished(study)
    missing = search.trials - _finished(study)
    if missing <= 0:
        return
    with progress.task(f"tune {target.entry.name}", missing) as advance:
        if search.jobs == 1:
            _optimise(study, target, inputs, missing, search.timeout_seconds, lambda: advance(1))
            return
        _in_processes(target, inputs, search, folder, missing, advance)


def _in_processes(
    target: Target, inputs: Inputs, search: Search, folder: Path, missing: int, advance: Callable[[int], None]
) -> None:
    """Share the trials out to processes of their own, and watch the database."""
    keep_working_folder_out()
    context = multiprocessing.get_context("spawn")
    jobs = min(search.jobs, missing)
    counts = [missing // jobs + (i < missing % jobs) for i in range(jobs)]
    errors = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(target, inputs.recipe, search, folder, (i, count, jobs), errors))
        for i, count in enumerate(counts)
    ]
    study = _study(target, folder, search.seed)
    before = _finished(study)
    for worker in workers:
        worker.start()
    try:
        seen = before
        while any(worker.is_alive() for worker in workers):
            time.sleep(_POLL_SECONDS)
            now = _finished(study)
            advance(now - seen)
            seen = now
    finally:
        for worker in workers:
            worker.join()
    if not errors.empty():
        raise UsageError(str(errors.get()))
    if any(worker.exitcode for worker in workers):
        raise WorkError(f"{target.entry.name}: a process of the search died; the same command goes on where it was")


def _work(
    target: Target, recipe: LoadedRecipe, search: Search, folder: Path, share: tuple[int, int, int], errors: Any
) -> None:
    """What a process of its own does: its share of the trials."""
    index, count, jobs = share
    try:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
        study = _study(target, folder, search.seed + 1 + index)
        _optimise(study, target, read_inputs(recipe, test=False), count, search.timeout_seconds, lambda: None)
    except UsageError as error:
        errors.put(str(error))
    except KeyboardInterrupt:
        return  # the process that started this one says so


def _study(target: Target, folder: Path, seed: int) -> Any:
    """Open or make a study; its sampler goes on with other draws than those that were made before."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{(folder / DATABASE).resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
    )
    study = optuna.create_study(study_name=target.study, storage=storage, direction="maximize", load_if_exists=True)
    drawn = int(hash_json({"seed": seed, "trials": len(study.get_trials(deepcopy=False))})[:8], 16)
    study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP_TRIALS)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    return study


def _finished(study: Any) -> int:
    """Complete and pruned trials."""
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.get_trials(deepcopy=False))


def _forget_unfinished(study: Any) -> None:
    """Mark trials failed that a killed process left running; nobody else works here now."""
    from optuna.trial import TrialState as State

    for trial in study.get_trials(deepcopy=False, states=(State.RUNNING,)):
        study.tell(trial.number, state=State.FAIL)


def _optimise(
    study: Any, target: Target, inputs: Inputs, trials: int, timeout: float | None, advance: Callable[[], None]
) -> None:
    study.optimize(
        lambda trial: _objective(trial, target, inputs),
        n_trials=trials,
        timeout=timeout,
        # Work that fails with some options (a loss that is not finite, no memory) says something about them alone.
        catch=(WorkError, MemoryError),
        callbacks=[lambda *_: advance()],
        gc_after_trial=True,
    )


def _objective(trial: Any, target: Target, inputs: Inputs) -> float:
    """Validation macro-F1 of the options that a trial draws."""
    values = {name: _draw(trial, name, dimension) for name, dimension in target.space.items()}
    for done in trial.study.get_trials(deepcopy=False):
        if done.state.name == "COMPLETE" and done.params == trial.params:
            return float(done.value)  # the same options and seed give the same bytes
    options = with_values(target.entry.options, values, target.entry.name)
    setting = Setting(
        task=inputs.recipe.task,
        labels=inputs.labels,
        seed=target.entry.seeds[0],
        max_seconds=inputs.recipe.recipe.budget.max_train_seconds,
        log=_Watch(trial),
    )
    fitted = METHODS.load(options.kind).fit(inputs.train, inputs.validation, options, setting)
    logits = fitted.validation_logits
    if logits is None:
        logits = fitted.classifier.predict_logits(inputs.validation.texts)
    problem, decision = inputs.recipe.task.problem, fitted.classifier.decision
    if problem.multi:
        return validation_macro_f1(logits, label_sets(inputs.validation, inputs.labels, problem))
    gold = gold_indices(inputs.validation, inputs.labels)
    predicted = decision.best(decision.probabilities(logits), inputs.labels)
    replies = replies_of(fitted.classifier, inputs.validation.texts)
    if replies is not None:
        index = {label: i for i, label in enumerate(inputs.labels)}
        read = [NO_ANSWER if reply.label is None else index[reply.label] for reply in replies]
        predicted = np.array(read, dtype=np.int64)
    return macro_f1(gold, predicted, len(inputs.labels))


def _draw(trial: Any, name: str, dimension: Any) -> Any:
    if isinstance(dimension, Choice):
        return json.loads(trial.suggest_categorical(name, dimension.words()))
    suggest = trial.suggest_int if dimension.whole else trial.suggest_float
    return suggest(name, dimension.low, dimension.high, log=dimension.log)


class _Watch:
    """A log that hands every validation to the trial and ends it where the others did better."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self._validations = 0

    def __call__(self, event: dict[str, Any]) -> None:
        if event.get("event") != "evaluation":
            return
        import optuna

        self._validations += 1
        self._trial.report(float(event["macro_f1"]), self._validations)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def record_of(target: Target, folder: Path) -> StudyRecord:
    """A study as data, with the importance of each option by PED-ANOVA (Watanabe et al. 2023)."""
    study = _study(target, folder, 0)
    trials = tuple(_trial(trial, target.space) for trial in study.get_trials() if trial.state.name in _STATES)
    complete = [trial for trial in trials if trial.state == "complete"]
    best = max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)
    return StudyRecord(
        name=target.study,
        method=target.entry.name,
        model=target.entry.model,
        trials=trials,
        best=None if best is None else best.number,
        importance=_importance(study, complete),
    )


def _importance(study: Any, complete: Sequence[TrialRecord]) -> dict[str, float]:
    import optuna

    if len(complete) < STARTUP_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _trial(trial: Any, space: Space) -> TrialRecord:
    curve = tuple(float(value) for _, value in sorted(trial.intermediate_values.items()))
    state = _STATES[trial.state.name]
    value = trial.value if state == "complete" else max(curve, default=None)
    options = {
        name: json.loads(drawn) if isinstance(space[name], Choice) else drawn for name, drawn in trial.params.items()
    }
    spent = trial.duration.total_seconds() if trial.duration else 0.0
    return TrialRecord(trial.number, state, value, spent, options, curve)


def _describe(dimension: Any) -> Any:
    return dimension.words() if isinstance(dimension, Choice) else dimension.model_dump(mode="json")
