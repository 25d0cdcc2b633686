"""A recipe's data, read, split and gated as its runs will see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adjudge.core.errors import DataError
from adjudge.core.protocols import Progress, TokenCounter
from adjudge.core.runs import SPLIT_FILE
from adjudge.core.task import Data, SplitPlan
from adjudge.core.types import Split
from adjudge.data.assign import draw
from adjudge.data.gate import GateOptions, Report, check
from adjudge.data.splits import label_set, load_splits, validate_labels
from adjudge.experiment.continuing import StartingPoint
from adjudge.experiment.inputs import Inputs
from adjudge.methods.tfidf import out_of_fold
from adjudge.recipe.recipe import LoadedRecipe, PlannedRun, plan


def load_inputs(
    recipe: LoadedRecipe, folder: Path, counter: Counter | None, origin: StartingPoint | None, progress: Progress
) -> Inputs:
    """Load, split, gate: once for all runs.

    Raises:
        DataError: the data cannot be used.
    """
    splits = _splits(recipe, recipe.data, folder / SPLIT_FILE)
    labels = label_set(recipe.task, splits["train"])
    if origin is not None:
        labels = origin.require_labels(labels)
    validate_labels(splits, labels, recipe.task.problem)
    report = gate(splits, labels, recipe, counter, progress)
    codes = {finding.code for finding in report.errors(())}
    return Inputs(
        recipe=recipe,
        labels=tuple(labels),
        train=labelled(splits["train"]),
        validation=labelled(splits["validation"]),
        test=splits.get("test"),
        check=report.to_json(),
        accepted=tuple(sorted(codes & set(recipe.accepted))),
        cache=folder / ".cache",
        start=origin,
    )


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
    splits = _splits(recipe, data, split_file)
    if not test:
        splits.pop("test", None)
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


def _splits(recipe: LoadedRecipe, data: Data, split_file: Path | None) -> dict[str, Split]:
    """The splits within the recipe's budget; without validation rows nothing can be chosen."""
    splits = load_splits(recipe.task, data, base=recipe.base, split_file=split_file)
    if not len(splits.get("validation", ())):
        raise DataError(
            f"{recipe.path}: data: there are no validation rows, and every choice is made on them; "
            "name a validation file, or set `data.split.validation` above 0"
        )
    return within_budget(splits, recipe)


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
        known_counter=counter.count_known if counter else None,
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
    count_known: TokenCounter
    max_tokens: int | None


def token_counter(planned: Sequence[PlannedRun]) -> Counter | None:
    """Find every model of the plan before any work starts; the first one counts tokens for the gate.

    Raises:
        ModelNotFoundError: a model cannot be had.
        ConfigError: a model cannot be used.
    """
    options = {str(name): run.options for run in planned if (name := getattr(run.options, "model", None))}
    if not options:
        return None
    from adjudge.models.trunk.loading import find_tokenizer, locate

    counters = []
    for name, config in options.items():
        tokenizer, limit = find_tokenizer(name), getattr(config, "max_tokens", None)
        counters.append(Counter(locate(name).name, tokenizer.count, tokenizer.count_known, limit))
    return counters[0]
