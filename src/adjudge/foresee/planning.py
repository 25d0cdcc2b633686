"""A whole recipe foreseen: its data read, its runs estimated, nothing written."""

from __future__ import annotations

from pathlib import Path

from adjudge.core.errors import DataError
from adjudge.core.protocols import Progress, SilentProgress
from adjudge.data.splits import label_set, load_splits, validate_labels
from adjudge.experiment.execute import Inputs
from adjudge.experiment.runner import gate, labelled, token_counter, within_budget
from adjudge.foresee.estimate import Estimate, estimate_run
from adjudge.foresee.probe import probe_run
from adjudge.recipe.recipe import LoadedRecipe, plan


def estimate_recipe(recipe: LoadedRecipe, *, probe: bool = False, progress: Progress | None = None) -> list[Estimate]:
    """What every run of a recipe will take. Runs that differ by their seed alone are estimated once.

    Args:
        recipe: as `load_recipe` gives it.
        probe: whether to run ten real steps of each.
        progress: where bars are drawn.

    Raises:
        ConfigError, ModelNotFoundError: the recipe or a model cannot be used.
        DataError: the data cannot be read, or has no validation rows.
    """
    shown = progress or SilentProgress()
    inputs = read_inputs(recipe)
    first: dict[str, Estimate] = {}
    found = []
    for planned in plan(recipe):
        key = f"{planned.display} {planned.options.model_dump_json()}"
        if key not in first:
            foreseen = estimate_run(planned, inputs)
            first[key] = probe_run(planned, inputs, foreseen, shown) if probe else foreseen
        found.append(first[key].renamed(planned.name))
    return found


def read_inputs(
    recipe: LoadedRecipe, *, test: bool = True, split_file: Path | None = None, gated: Progress | None = None
) -> Inputs:
    """A recipe's data as its runs will see it.

    Args:
        recipe: as `load_recipe` gives it.
        test: whether to keep the test split. Without it a test file of its own is not even read; a test split that is
            made from train's rows is made and dropped, so that train and validation are those of the runs.
        split_file: where made splits are kept; default: nothing is written.
        gated: where the data gate draws its bars; default: it does not run.

    Raises:
        DataError: the data cannot be read, has no validation rows, or the gate stops it as it would stop a run.
        ModelNotFoundError: the gate counts by a model's tokens, and it cannot be had.
    """
    data = recipe.data
    if not test and data.test is not None:
        sample = {name: rows for name, rows in data.sample.items() if name != "test"}
        kept = data.split.model_copy(update={"test": 0})
        data = data.model_copy(update={"test": None, "split": kept, "sample": sample})
    splits = within_budget(load_splits(recipe.task, data, base=recipe.base, split_file=split_file), recipe)
    if not test:
        splits.pop("test", None)
    if not len(splits.get("validation", ())):
        raise DataError(
            f"{recipe.path}: data: there are no validation rows, and every choice is made on them; "
            "name a validation file, or set `data.split.validation` above 0"
        )
    labels = label_set(recipe.task, splits["train"])
    validate_labels(splits, labels, recipe.task.problem)
    if gated is not None:
        gate(splits, labels, recipe, token_counter(plan(recipe)), gated)
    return Inputs(
        recipe=recipe,
        labels=tuple(labels),
        train=labelled(splits["train"]),
        validation=labelled(splits["validation"]),
        test=splits.get("test"),
        check={},
        accepted=(),
        cache=recipe.path.parent / ".cache",
    )
