"""A run as teacher: it labels texts softly, and a small student learns from its probabilities."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adjudge.core.config import apply_overrides, validate
from adjudge.core.errors import ConfigError, DataError, UsageError, did_you_mean
from adjudge.core.hashing import hash_json, hash_text
from adjudge.core.protocols import Classifier, Progress, SilentProgress
from adjudge.core.runs import Run
from adjudge.core.task import Source as DataSource
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.data.readers import iter_tables
from adjudge.data.rows import labels_of, texts_of
from adjudge.derive.derived_run import DerivedRun, make_run, refuse_existing
from adjudge.experiment.new_texts import reading_of
from adjudge.experiment.source_runs import RunData, SourceRun, beside, open_run
from adjudge.methods import METHODS, Setting
from adjudge.models.classifiers.storage import load_classifier
from adjudge.train.distillation import SoftTargets
from adjudge.train.training_config import TrainingConfig


@dataclass(frozen=True)
class DistilOptions:
    """How a student learns.

    Attributes:
        method: the student's method; one that trains a network.
        settings: ``key=value`` overrides of its options, for example ``model=minilm-l6``.
        temperature: softens both distributions, at least 1.
        gold_share: share of a row's loss that its label has, where it has one; 0 to 1.
        text_columns: text columns of the file; default: the task's.
        seed: of the student's training.
    """

    method: str = "full"
    settings: tuple[str, ...] = ()
    temperature: float = 2.0
    gold_share: float = 0.5
    text_columns: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not 1 <= self.temperature <= 100:
            raise UsageError(f"temperature: must lie between 1 and 100, got {self.temperature}")
        if not 0 <= self.gold_share <= 1:
            raise UsageError(f"gold share: must lie between 0 and 1, got {self.gold_share}")


def distil_run(
    teacher: Run,
    texts: Path | DataSource,
    folder: Path | None = None,
    options: DistilOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Run:
    """Train a student on a teacher's probabilities, and measure it on the teacher's own rows.

    Texts that are among the run's validation or test rows are left out. Rows with a label (the task's label column, a
    label of the closed set) learn from it too. The student's checkpoint and temperature are chosen on validation, with
    gold labels.

    Args:
        teacher: complete, with stored texts.
        texts: file of texts to learn from, labelled or not; a data source where it has to be told how it is read.
        folder: of the student's run; default: ``<teacher>-distilled-<hash>`` beside it.
        options: see `DistilOptions`.
        progress: where bars are drawn.

    Returns:
        The student's run. ``facts.distillation`` says from how many rows it learned, and what was kept at what cost.

    Raises:
        UsageError: the folder is there.
        ConfigError: a method that trains no network, options that it lacks, or a head that cannot learn from this.
        DataError: the file has no usable text, or the run cannot be made from.
        WorkError: training or the round trip fails.
    """
    chosen, shown, source = options or DistilOptions(), progress or SilentProgress(), open_run(teacher)
    task = Task.model_validate(source.record["config"]["task"])
    config = student_config(chosen)
    config.refuse_multi_label(task)
    data = texts if isinstance(texts, DataSource) else DataSource(path=str(texts))
    shaping = {"teacher": teacher.name, "student": config.model_dump(mode="json"), "texts": Path(data.path).name}
    shaping |= {"temperature": chosen.temperature, "gold_share": chosen.gold_share, "seed": chosen.seed}
    target = folder or beside(source, f"{teacher.name}-distilled-{hash_json(shaping)[:8]}")
    refuse_existing(target)
    train, gold = _read(data, task, source, chosen)
    began = time.perf_counter()
    labelled, soft = _soften(load_classifier(source.model), train, gold, chosen, shown)
    labelling = time.perf_counter() - began
    setting = Setting(task=task, labels=source.labels, seed=chosen.seed, soft=soft, progress=shown)
    fitted = METHODS.load(chosen.method).fit(labelled, source.splits["validation"], config, setting)
    facts = dict(fitted.facts)
    facts["distillation"] = {"rows": len(train), "labelled_rows": int(gold.sum()), "labelling_seconds": labelling}
    own = {name: facts.pop(name, None) for name in ("model", "template")}
    cost = {name: facts.pop(name, None) for name in _COSTS}
    derived = DerivedRun(
        folder=target,
        method="distilled",
        config=shaping,
        facts=facts,
        labels_used={"train": int(gold.sum()), "validation": fitted.labels_used["validation"]},
        data=_student_data(source, {**own, "seed": chosen.seed}),
        against=[source],
        cost={**cost, "train_seconds": time.perf_counter() - began},
    )
    return make_run(derived, fitted.classifier, shown)


_COSTS = ("train_tokens", "trainable_parameters", "total_parameters")


def _student_data(source: SourceRun, own: dict[str, Any]) -> RunData:
    """The teacher's rows, task and data; how the teacher was trained is no part of its student."""
    config = {key: value for key, value in source.record["config"].items() if key not in ("joint", "from")}
    return replace(source.data, record={**source.record, "config": config, **own})


def student_config(options: DistilOptions) -> Any:
    """The validated options of the student's method.

    Raises:
        ConfigError: an unknown method, one that trains no network, options that it does not have, or a head that
            learns from words alone.
    """
    able = [name for name in METHODS if _trains(METHODS.load(name).config)]
    if options.method not in able:
        raise ConfigError(
            f"method {options.method!r} cannot learn from probabilities; {did_you_mean(options.method, able)}"
        )
    raw = apply_overrides({"kind": options.method}, options.settings)
    config: Any = validate(METHODS.load(options.method).config, raw, f"student ({options.method})")
    head = getattr(config, "head", None)
    if head is not None and head.kind == "generate":
        raise ConfigError(
            f"student ({options.method}): head.kind 'generate' learns from words, and a teacher gives probabilities; "
            "use head.kind 'score' or 'label'"
        )
    return config


def _trains(config: Any) -> bool:
    field = config.model_fields.get("training")
    return field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, TrainingConfig)


def _read(
    data: DataSource, task: Task, source: SourceRun, options: DistilOptions
) -> tuple[Split, np.ndarray[Any, np.dtype[np.float32]]]:
    """The file's usable texts with their labels (None where there is none), and 1 where there is one, ``[N]``."""
    data, columns = reading_of(data, task, source.record["config"], source.labels)
    if options.text_columns or columns:
        task = task.model_copy(update={"text": list(options.text_columns or columns or ()), "text_template": None})
    measured = {hash_text(text) for split in source.splits.values() for text in split.texts}
    texts: list[str] = []
    labels: list[str | None] = []
    known = frozenset(source.labels)
    file = Path(data.path)
    for frame in iter_tables(data):
        labelled = all(column in frame.columns for column in task.label_columns)
        given = labels_of(task, frame, file.name) if labelled else [None] * len(frame)
        for text, cell in zip(texts_of(task, frame, file.name), given, strict=True):
            if text and not text.isspace() and hash_text(text) not in measured:
                texts.append(text)
                labels.append(cell if cell and known.issuperset(task.problem.split(cell)) else None)
    if len(texts) < 2:
        raise DataError(f"{file.name}: has no texts to learn from that are not among the run's own test rows")
    split = Split("train", texts, labels, [str(i) for i in range(len(texts))], source=file.name)
    return split, np.array([label is not None for label in labels], dtype=np.float32)


def _soften(
    teacher: Classifier,
    train: Split,
    gold: np.ndarray[Any, np.dtype[np.float32]],
    options: DistilOptions,
    progress: Progress,
) -> tuple[Split, SoftTargets]:
    """The teacher's calibrated logits, for every row.

    Rows without a label get the teacher's, which decides their class weight and has no share in their loss.
    """
    logits = teacher.predict_logits(train.texts, progress) / np.float32(teacher.temperature)
    answers = teacher.decision.answers(teacher.decision.probabilities(logits), teacher.labels)
    labelled = replace(train, labels=[own or answer for own, answer in zip(train.labels, answers, strict=True)])
    shares = gold * np.float32(options.gold_share)
    return labelled, SoftTargets(logits, options.temperature, shares, teacher.decision.problem.multi)


def kept(student: Run, teacher: Run) -> list[dict[str, Any]]:
    """What a student kept and what it costs, for both runs: scores, prediction time, size. JSON-ready."""
    rows = []
    for role, run in (("teacher", teacher), ("student", student)):
        metrics, cost = run.metrics(), run.record()["cost"]
        scores = metrics.get("test") or metrics["validation"]
        rows.append(
            {
                "role": role,
                "run": run.name,
                "accuracy": scores["accuracy"],
                "macro_f1": scores["macro_f1"],
                "seconds_per_1000_rows": cost.get("prediction_seconds_per_1000_rows"),
                "disk_bytes": cost.get("disk_bytes"),
                "total_parameters": cost.get("total_parameters"),
            }
        )
    return rows
