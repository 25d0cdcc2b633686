"""The recipe that a search ends in: the same, with the best options in place of the searched ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adjudge.core.atomic import write_text
from adjudge.core.config import to_yaml
from adjudge.core.studies import StudyRecord
from adjudge.recipe.recipe import LoadedRecipe, MethodPlan
from adjudge.recipe.search_space import set_values


def write_tuned(recipe: LoadedRecipe, studies: Sequence[StudyRecord], path: Path) -> None:
    """Write a runnable recipe. It belongs beside the original, whose paths it keeps.

    Args:
        recipe: the one that was searched.
        studies: of `tune_recipe`; entries without a complete trial stay as they are.
        path: the new file, replaced if it is there.
    """
    best = {(study.method, study.model): study for study in studies if study.best_trial is not None}
    raw = recipe.recipe.model_dump(mode="json", exclude_unset=True)
    raw["name"] = path.stem
    raw["description"] = f"options chosen by `adjudge tune {recipe.path.name}` on validation data"
    raw["methods"] = [
        _entry(entry, best.get((entry.name, entry.model)), recipe.recipe.seeds) for entry in recipe.methods
    ]
    write_text(path, to_yaml(raw))


def _entry(entry: MethodPlan, study: StudyRecord | None, seeds: Sequence[int]) -> dict[str, Any]:
    """An entry with what its author wrote and what the search chose; the search itself is done."""
    written = entry.options.model_dump(mode="json", exclude_unset=True)
    raw: dict[str, Any] = {"kind": entry.options.kind, **written}
    if list(entry.seeds) != list(seeds):
        raw["seeds"] = list(entry.seeds)
    if entry.name != entry.options.kind:
        raw["name"] = entry.name
    trial = study.best_trial if study else None
    set_values(raw, dict(trial.options) if trial else {})
    return raw
