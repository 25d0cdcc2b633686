"""Recipes: task + data + methods × models × seeds + budget, in one strict YAML file, and the plan that follows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, field_validator

from adjudge.core.config import StrictModel, apply_overrides, parse_override, read_yaml, validate
from adjudge.core.errors import ConfigError, did_you_mean
from adjudge.core.hashing import hash_json
from adjudge.core.task import Data, Name, Task
from adjudge.methods import METHODS, MethodConfig
from adjudge.recipe.sources import data_config

Seed = Annotated[int, Field(ge=0)]
M = TypeVar("M", bound=StrictModel)
_ROLES = ("train", "validation", "test")


class Budget(StrictModel):
    """What one run may use. The same for every method of a recipe, so that they are compared fairly."""

    max_train_seconds: float | None = Field(None, gt=0, description="training stops here, at the best checkpoint")
    max_train_rows: int | None = Field(None, ge=2, description="train rows, drawn stratified by split_seed")


class PublishedFigure(StrictModel):
    """A published figure, shown beside the runs. It is a constant: its own sampling error is not known."""

    name: str = Field(min_length=1, description="what reached it")
    accuracy: float = Field(ge=0, le=1, description="accuracy on the same test set, 0 to 1")
    source: str = Field(min_length=1, description="where it is published")


class Recipe(StrictModel):
    """What to run: every method × model × seed on one task and one data set."""

    name: Name = Field(description="short name; runs go to runs/<name>/. Default: the file's name")
    description: str | None = Field(None, description="what the recipe is for")
    task: str | dict[str, Any] = Field(description="task file, relative to the recipe, or the task itself")
    data: Data | None = Field(None, description="data; default: the task's")
    methods: list[dict[str, Any]] = Field(
        min_length=1, description="kind, model (or several), options; `seeds` and `name` of its own where wanted"
    )
    seeds: list[Seed] = Field([0], min_length=1, description="seeds of every method that names none itself")
    budget: Budget = Field(default_factory=Budget, description="what one run may use")
    accept: list[str] = Field(default_factory=list, description="codes of data errors accepted knowingly")
    store_texts: bool = Field(True, description="keep the texts of validation and test in the run folders")
    checkpoint_seconds: float = Field(300.0, gt=0, description="time between checkpoints, for `run --resume`")
    constants: list[PublishedFigure] = Field(default_factory=list, description="published figures, for `compare`")

    @field_validator("seeds")
    @classmethod
    def _different_seeds(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("seeds must differ from each other")
        return value


class Repeats(StrictModel):
    """The keys of a method in a recipe that say how often it is run, and under which name."""

    seeds: list[Seed] | None = Field(None, min_length=1, description="seeds of this method; default: the recipe's")
    name: Name | None = Field(None, description="name in run folders and tables; default: the method's")
    search: dict[str, Any] | None = Field(None, description="option -> values or range, for `tune`; default: its own")

    @field_validator("seeds")
    @classmethod
    def _different_seeds(cls, value: list[int] | None) -> list[int] | None:
        return None if value is None else Recipe._different_seeds(value)


@dataclass(frozen=True)
class MethodPlan:
    """One method of a recipe with one model: its validated options, how it is repeated, and its search space."""

    options: MethodConfig
    name: str
    model: str | None
    seeds: tuple[int, ...]
    entry: int = 0
    search: dict[str, Any] | None = None


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with everything it names resolved.

    Attributes:
        recipe: the file's content, overrides applied.
        task: the task; its `data` is the task file's own.
        data: the data that is used: the recipe's, else the task's.
        base: the folder that relative data paths start from.
        methods: every method × model, options validated.
        path: the recipe file.
        joint: the tasks that are learnt together, this one among them, and how they are mixed; JSON-ready, or None.
    """

    recipe: Recipe
    task: Task
    data: Data
    base: Path
    methods: tuple[MethodPlan, ...]
    path: Path
    joint: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    def allowing_bad_rows(self, most: int) -> LoadedRecipe:
        """The same recipe, of each data file of which this many bad rows may be left out; with 0 as it says itself."""
        return replace(self, data=self.data.allowing_bad_rows(most))

    @property
    def accepted(self) -> tuple[str, ...]:
        """Codes of data errors that the recipe or its data accepts, sorted."""
        return tuple(sorted({*self.recipe.accept, *self.data.accept}))


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        name: ``<method>-<model>-s<seed>-<hash8>``, the run folder's name.
        method: the method's kind.
        display: the method's name in tables: `name` of the recipe, else the kind.
        model: model id as the recipe gives it, or None.
        seed: the run's seed.
        options: validated options of the method.
        config: the resolved config, JSON-ready, sources by base name.
        config_hash: hash of everything in it that shapes the result.
    """

    name: str
    method: str
    display: str
    model: str | None
    seed: int
    options: MethodConfig
    config: dict[str, Any]
    config_hash: str


def load_recipe(path: Path, *, overrides: Sequence[str] = (), data_root: Path | None = None) -> LoadedRecipe:
    """Read a recipe, its task and the options of every method.

    Args:
        path: the recipe file.
        overrides: ``key=value`` with a dotted key; ``method.rank=8`` reaches every method that has that option
            (``method.epochs=1`` the one inside ``training`` too), ``methods.2.rank=8`` one; ``data.…`` starts from
            the task's data where the recipe has none.
        data_root: folder that relative data paths start from; default: the folder of the file that names them.

    Raises:
        ConfigError: every problem of the recipe, the task and the methods in one message.
    """
    raw: dict[str, Any] = {"name": path.stem, **read_yaml(path)}
    if "tasks" in raw:
        raise ConfigError(
            f"{path}: tasks: a recipe whose tasks are learnt together is for `adjudge run` alone; give one `task` here"
        )
    return resolve_recipe(raw, path, overrides=overrides, data_root=data_root)


def resolve_recipe(
    raw: dict[str, Any], path: Path, *, overrides: Sequence[str] = (), data_root: Path | None = None
) -> LoadedRecipe:
    """What `load_recipe` makes of a file's content.

    Raises:
        ConfigError: every problem of the recipe, the task and the methods in one message.
    """
    problems: list[str] = []
    raw_task, task_where, task_folder = _raw_task(raw.get("task"), path, problems)
    data_folder = path.parent if raw.get("data") is not None else task_folder
    if overrides:
        raw = _overridden(raw, raw_task, overrides)
    if isinstance(raw.get("task"), dict):
        raw_task = raw["task"]
    recipe = _collect(Recipe, raw, str(path), problems)
    task = _collect(Task, raw_task, task_where, problems) if raw_task is not None else None
    default_seeds = tuple(recipe.seeds) if recipe else (0,)
    methods = tuple(_methods(raw.get("methods"), default_seeds, str(path), problems))
    data = (recipe.data if recipe else None) or (task.data if task else None)
    if recipe and task and data is None:
        problems.append(f"{path}: data: missing; give it here or in the task ({task_where})")
    if task is not None:
        problems += _one_label_only(task, methods, str(path))
    if problems or recipe is None or task is None or data is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    return LoadedRecipe(recipe, task, data, data_root or data_folder, methods, path)


def plan(recipe: LoadedRecipe, start: Mapping[str, str] | None = None) -> list[PlannedRun]:
    """Every run of a recipe, in the recipe's order: methods, then models, then seeds.

    Local data files enter a run's hash by content, so changed data gives new runs.

    Args:
        recipe: as `load_recipe` gives it.
        start: what identifies the run whose classifier is trained on, or None.

    Raises:
        ConfigError: two entries of the recipe are the same run.
    """
    data, shaping = data_config(recipe.data, recipe.base)
    runs: list[PlannedRun] = []
    for method in recipe.methods:
        for seed in method.seeds:
            common: dict[str, Any] = {
                "method": method.options.model_dump(mode="json"),
                "seed": seed,
                "budget": recipe.recipe.budget.model_dump(mode="json"),
            }
            if start is not None:
                common["from"] = dict(start)
            if recipe.joint is not None:
                common["joint"] = recipe.joint
            if "model" in common["method"] and method.model is not None:
                common["method"]["model"] = model_name(method.model)
            digest = hash_json({"task": recipe.task.hash(), "data": shaping, **common})
            stem = method.name if method.model is None else f"{method.name}-{_slug(method.model)}"
            runs.append(
                PlannedRun(
                    name=f"{stem}-s{seed}-{digest[:8]}",
                    method=method.options.kind,
                    display=method.name,
                    model=None if method.model is None else model_name(method.model),
                    seed=seed,
                    options=method.options,
                    config={"task": recipe.task.model_dump(mode="json", exclude={"data"}), "data": data, **common},
                    config_hash=digest,
                )
            )
    _refuse_repeats(runs, recipe.path)
    return runs


def identity(recipe: LoadedRecipe) -> dict[str, str]:
    """What names a recipe's task with its data: equal hashes are the same task on the same rows."""
    shaping = data_config(recipe.data, recipe.base)[1]
    return {"name": recipe.task.name, "hash": hash_json({"task": recipe.task.hash(), "data": shaping})}


def model_name(model: str) -> str:
    """A model as a run may name it: a catalog name or hub id as it is, a folder on this machine by its base name."""
    path = Path(model).expanduser()
    return path.name if path.is_absolute() or model.startswith(".") or path.exists() else model


def _raw_task(value: Any, recipe: Path, problems: list[str]) -> tuple[dict[str, Any] | None, str, Path]:
    """The task's mapping, the name of its origin for messages, and its folder."""
    if isinstance(value, dict):
        return value, f"{recipe}: task", recipe.parent
    if not isinstance(value, str):
        return None, str(recipe), recipe.parent
    file = recipe.parent / value
    try:
        return read_yaml(file), str(file), file.parent
    except ConfigError as error:
        problems.extend(f"{recipe}: task: {problem}" for problem in error.problems)
        return None, str(file), file.parent


def _overridden(raw: dict[str, Any], raw_task: dict[str, Any] | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Apply ``--set``: options of methods by what their configs have, the rest by the recipe's keys, in order."""
    raw = dict(raw)
    for override in overrides:
        path, value = parse_override(override)
        if path[0] == "data" and raw.get("data") is None and raw_task and isinstance(raw_task.get("data"), dict):
            raw["data"] = raw_task["data"]
        if path[0] == "data" and len(path) > 2 and isinstance(raw.get("data"), dict):
            raw["data"] = {key: {"path": part} if isinstance(part, str) and key in _ROLES else part
                           for key, part in raw["data"].items()}  # fmt: skip
        to_methods = path[0] in ("method", "methods") and len(path) > 1 and not path[1].isdigit()
        if not (to_methods and isinstance(raw.get("methods"), list)):
            raw = apply_overrides(raw, [override])
            continue
        places = [_place(method, path[1:]) for method in raw["methods"]]
        if not any(places):
            raise ConfigError(f"--set {override}: no method of the recipe has an option {'.'.join(path[1:])!r}")
        raw["methods"] = [
            _with_option(method, place, value) if place else method
            for method, place in zip(raw["methods"], places, strict=True)
        ]
    return raw


def _place(method: Any, path: Sequence[str]) -> list[str] | None:
    """Where a raw method takes an option: itself, else one of the configs inside its own (``training.epochs``)."""
    if not isinstance(method, dict) or method.get("kind") not in METHODS:
        return None
    fields = METHODS.load(method["kind"]).config.model_fields
    if path[0] in fields or path[0] in Repeats.model_fields:
        return list(path)
    inner = [
        name
        for name, field in fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, StrictModel)
        and path[0] in field.annotation.model_fields
    ]
    return [inner[0], *path] if len(inner) == 1 else None


def _with_option(method: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A raw method with one option set, also inside a config of its own."""
    if len(path) == 1:
        return {**method, path[0]: value}
    inner = method.get(path[0])
    if isinstance(inner, str):
        inner = {"kind": inner}  # a head may be written as its kind alone
    return {**method, path[0]: _with_option(inner if isinstance(inner, dict) else {}, path[1:], value)}


def _collect(model: type[M], raw: Mapping[str, Any], where: str, problems: list[str]) -> M | None:
    """Validate; on failure add the problems to the list instead of raising."""
    try:
        return validate(model, raw, where)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _methods(raw: Any, seeds: tuple[int, ...], where: str, problems: list[str]) -> Iterator[MethodPlan]:
    for index, entry in enumerate(raw if isinstance(raw, list) else []):
        place = f"{where}: methods.{index}"
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if not isinstance(entry, dict):
            continue  # the recipe's own validation says so
        if not isinstance(kind, str):
            problems.append(f"{place}: kind: missing; it is required; {did_you_mean('', METHODS)}")
            continue
        if kind not in METHODS:
            problems.append(f"{place}: kind: unknown method {kind!r}; {did_you_mean(kind, METHODS)}")
            continue
        config = METHODS.load(kind).config
        reserved = {key: value for key, value in entry.items() if key in Repeats.model_fields}
        repeats = _collect(Repeats, reserved, f"{place} ({kind})", problems)
        options = {key: value for key, value in entry.items() if key not in reserved}
        models = options.get("model") if isinstance(options.get("model"), list) else [options.get("model")]
        if not models:
            problems.append(f"{place} ({kind}): model: an empty list; name at least one model")
        for model in models or []:
            single = {**options, "model": model} if "model" in options else options
            validated = _collect(config, single, f"{place} ({kind})", problems)
            if validated is not None and repeats is not None:
                found = getattr(validated, "model", None)
                own = tuple(repeats.seeds) if repeats.seeds else seeds
                yield MethodPlan(validated, repeats.name or kind, found, own, index, repeats.search)


def _one_label_only(task: Task, methods: Sequence[MethodPlan], where: str) -> Iterator[str]:
    """Methods that cannot give several labels, in a task that wants them."""
    for method in methods:
        try:
            method.options.refuse_multi_label(task)
        except ConfigError as error:
            yield from (f"{where}: methods.{method.entry} {problem}" for problem in error.problems)


def _slug(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/").rsplit("/", 1)[-1]).strip("-.")[:40] or "model"


def _refuse_repeats(runs: Sequence[PlannedRun], path: Path) -> None:
    seen: set[str] = set()
    for run in runs:
        if run.config_hash in seen:
            raise ConfigError(f"{path}: methods: {run.name} is planned twice; options, model and seed are the same")
        seen.add(run.config_hash)
