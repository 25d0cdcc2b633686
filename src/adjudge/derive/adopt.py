"""A model that others trained as a run: measured on the task's own rows, calibrated there, saved and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adjudge.core.config import read_yaml, validate
from adjudge.core.errors import ConfigError, DataError
from adjudge.core.problem import stated
from adjudge.core.protocols import Progress
from adjudge.core.runs import EvaluatedSplit, Run
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.data.splits import load_splits, split_hash, validate_labels
from adjudge.derive.derived_run import DerivedRun, make_run, refuse_existing
from adjudge.experiment.source_runs import SPLITS, RunData
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.exchange.imported import Imported, import_folder
from adjudge.recipe.sources import named_data

SEQUENCE, ADAPTER = "imported-model", "imported-adapter"


def import_run(
    folder: Path,
    task_file: Path,
    run: Path,
    *,
    base: str | None = None,
    max_tokens: int | None = None,
    data_root: Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Import a model or an adapter as a run.

    Args:
        folder: an ``AutoModelForSequenceClassification`` folder or a PEFT adapter.
        task_file: the task; its data gives the rows of validation (for the temperature) and test.
        run: the new run's folder.
        base: see `adjudge.models.exchange.imported.import_folder`.
        max_tokens: likewise.
        data_root: folder that relative data paths start from; default: the task's.
        progress: where bars are drawn.

    Raises:
        UsageError: ``run`` is there.
        ConfigError: the task has no data, its labels are not the model's, or the model is of another kind.
        DataError: the data or the folder cannot be used.
        WorkError: the round trip fails.
    """
    refuse_existing(run)
    task = validate(Task, {"name": task_file.stem, **read_yaml(task_file)}, str(task_file))
    if task.data is None:
        raise ConfigError(
            f"{task_file}: data: missing; validation rows are needed for the temperature and the numbers"
        )
    classifier = import_folder(folder, task, base=base, max_tokens=max_tokens)
    splits = load_splits(task, task.data, base=data_root or task_file.parent)
    validate_labels(splits, classifier.labels, task.problem)
    data = _run_data(task, splits, classifier)
    made = DerivedRun(
        folder=run,
        method=ADAPTER if (folder / "adapter_config.json").is_file() else SEQUENCE,
        config={"folder": folder.name, "base": Path(base).name if base else None, "max_tokens": max_tokens},
        facts={"precision": "float32", **_engine(classifier)},
        labels_used={},
        data=data,
        cost={"total_parameters": _parameters(classifier)},
    )
    return make_run(made, classifier, progress)


def _run_data(task: Task, splits: dict[str, Split], classifier: Imported) -> RunData:
    """Rows with gold labels, and a record that says where they and the model came from."""
    if not len(splits.get("validation", ())) or task.data is None:
        raise DataError(f"{task.name}: there are no validation rows, on which the temperature is fitted")
    measured: dict[EvaluatedSplit, Split] = {name: splits[name] for name in SPLITS if name in splits}
    data = named_data(task.data)
    described = {
        name: {"rows": len(split), "hash": split_hash(split), "source": split.source} for name, split in splits.items()
    }
    record = {
        "recipe": task.name,
        "config": {
            "task": task.model_dump(mode="json", exclude={"data"}),
            "data": data,
            "seed": 0,
            "budget": {},
        },
        "task": {
            "name": task.name,
            "version": task.version,
            "hash": task.hash(),
            "labels": list(classifier.labels),
        }
        | stated(task.problem),
        "data": {"split_seed": task.data.split_seed, "accepted": [], "splits": described},
        "seed": 0,
        **_described(classifier),
        "constants": [],
        "calibration": {"temperature": 1.0},
    }
    return RunData(record, measured)


def _engine(classifier: Imported) -> dict[str, str]:
    runs = classifier.network.engine if isinstance(classifier, NeuralClassifier) else classifier
    return {"engine": runs.path, "engine_reason": runs.reason}


def _described(classifier: Imported) -> dict[str, Any]:
    if isinstance(classifier, NeuralClassifier):
        base = classifier.base
        model = {"id": base.name, "hash": classifier.base_hash, "license": base.license}
        return {"model": model, "template": classifier.prompt.describe()}
    return {"model": {"id": Path(classifier.model.name_or_path).name, "hash": None, "license": None}, "template": None}


def _parameters(classifier: Imported) -> int:
    if isinstance(classifier, NeuralClassifier):
        return classifier.network.n_parameters()[1]
    return sum(parameter.numel() for parameter in classifier.model.parameters())
