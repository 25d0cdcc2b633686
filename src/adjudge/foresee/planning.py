"""A whole recipe foreseen: its data read, its runs estimated, nothing written."""

from __future__ import annotations

from adjudge.core.protocols import Progress, SilentProgress
from adjudge.experiment.load import read_inputs
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
    estimates = []
    for planned in plan(recipe):
        key = f"{planned.display} {planned.options.model_dump_json()}"
        if key not in first:
            foreseen = estimate_run(planned, inputs)
            first[key] = probe_run(planned, inputs, foreseen, shown) if probe else foreseen
        estimates.append(first[key].renamed(planned.name))
    return estimates
