"""What all runs of a recipe share: its data, loaded and checked once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adjudge.core.runs import EvaluatedSplit
from adjudge.core.types import Split
from adjudge.data.splits import split_hash
from adjudge.experiment.continuing import StartingPoint
from adjudge.recipe.recipe import LoadedRecipe


@dataclass(frozen=True)
class Inputs:
    """What all runs of a recipe share: data loaded and gated once.

    Attributes:
        labels: the closed set, in the order of every array.
        check: the gate's report, JSON-ready.
        accepted: codes of errors that were found and accepted.
        cache: folder for what methods keep between runs.
        start: the run whose classifier is trained on, or None.
    """

    recipe: LoadedRecipe
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None
    check: dict[str, Any]
    accepted: tuple[str, ...]
    cache: Path
    start: StartingPoint | None = None

    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        fitted = {"train": self.train, "validation": self.validation}
        return fitted if self.test is None else {**fitted, "test": self.test}

    def predicted(self) -> dict[EvaluatedSplit, Split]:
        """The splits that a run predicts, by name."""
        validation: dict[EvaluatedSplit, Split] = {"validation": self.validation}
        return validation if self.test is None else {**validation, "test": self.test}


def split_records(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Rows, content hash and source of every split, as in run.json."""
    return {
        name: {"rows": len(split), "hash": split_hash(split), "source": split.source}
        for name, split in inputs.splits().items()
    }
