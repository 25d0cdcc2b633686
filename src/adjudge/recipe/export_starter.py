"""Starting files for an export of an annotation tool: its rows, a task and a recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from adjudge.core.atomic import write_text
from adjudge.core.errors import UsageError
from adjudge.data.annotations.annotated import Wanted
from adjudge.data.importing import import_data
from adjudge.data.task_files import ImportedData
from adjudge.recipe.minutes import estimate_minutes, guess_tokens, matrix_speed
from adjudge.recipe.starter import usable_name
from adjudge.recipe.starting_files import recipe_text


@dataclass(frozen=True)
class ExportStarter:
    """What was written for an export.

    Attributes:
        imported: the task, its rows and what was left out.
        recipe: the recipe file.
        minutes: that each method may take on this machine.
    """

    imported: ImportedData
    recipe: Path
    minutes: dict[str, float]


def write_export_starter(
    file: Path, *, folder: Path = Path(), name: str | None = None, wanted: Wanted | None = None
) -> ExportStarter:
    """Write ``tasks/<name>.yaml``, ``tasks/<name>.jsonl`` and ``recipes/<name>.yaml`` for an export.

    Args:
        file: an export; see `adjudge.data.importing.needs_import`.
        folder: where ``tasks/`` and ``recipes/`` go.
        name: of the task and the recipe; default: the file's name.
        wanted: which field and which question of the export.

    Raises:
        DataError: rows that cannot be read.
        UsageError: one of the files is there already, or a name that cannot be used. Nothing is written then.
    """
    name = usable_name(name, file)
    recipe = folder / "recipes" / f"{name}.yaml"
    if recipe.exists():
        raise UsageError(f"{recipe}: there already, and not overwritten; move it away, or choose another name")
    imported = import_data(file, folder / "tasks", name=name, wanted=wanted)
    with imported.rows_file.open(encoding="utf-8") as stream:
        tokens = [guess_tokens(json.loads(line)["text"]) for line in stream]
    mean_tokens = sum(tokens) / len(tokens)
    minutes = estimate_minutes(len(tokens), mean_tokens, matrix_speed())
    write_text(recipe, recipe_text(name, len(tokens), mean_tokens, minutes))
    return ExportStarter(imported, recipe, minutes)
