"""Runs made from other runs: the same rows, another classifier, a complete run folder of its own.

The rows come from a run's stored texts and prediction files, so the original data need not be at hand.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.errors import DataError, UsageError
from adjudge.core.hashing import hash_json, hash_text
from adjudge.core.problem import Problem, problem_of
from adjudge.core.protocols import Classifier, Progress, SilentProgress, replies_of
from adjudge.core.runs import EvaluatedSplit, Predicted, Run, prediction_table
from adjudge.core.types import Split
from adjudge.evaluate.arrays import with_shared_sets
from adjudge.evaluate.paired import Metric, mcnemar, paired_difference
from adjudge.evaluate.predictions import evaluate_run, read_arrays
from adjudge.experiment.execute import calibrate, thresholds_of
from adjudge.experiment.log import RunLog
from adjudge.experiment.measure import PeakMemory, folder_bytes, hardware, versions
from adjudge.models.classifiers.round_trip import probe_texts, tolerance_of, verify_saved

SPLITS: tuple[EvaluatedSplit, ...] = ("validation", "test")


@dataclass(frozen=True)
class Ground:
    """What a new run stands on.

    Attributes:
        record: ``run.json`` as far as it speaks of task, data and seed.
        splits: the rows that it is measured on, with texts and gold labels; ``validation`` is always there.
        check: what the data gate found, or None where it did not run.
    """

    record: dict[str, Any]
    splits: dict[EvaluatedSplit, Split]
    check: dict[str, Any] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set, in order."""
        return tuple(self.record["task"]["labels"])

    @property
    def problem(self) -> Problem:
        """What kind of answer is wanted."""
        return problem_of(self.record["task"])


@dataclass(frozen=True)
class Source:
    """A complete run, opened to make another one from."""

    run: Run
    ground: Ground

    @property
    def record(self) -> dict[str, Any]:
        """Its ``run.json``."""
        return self.ground.record

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set, in order."""
        return self.ground.labels

    @property
    def splits(self) -> dict[EvaluatedSplit, Split]:
        """The rows that it was measured on."""
        return self.ground.splits

    @property
    def model(self) -> Path:
        """The folder of its classifier."""
        return self.run.path / "model"


@dataclass(frozen=True)
class Making:
    """What is to be made.

    Attributes:
        folder: of the new run; must not be there.
        method: its kind and its name in tables.
        config: what shaped it beside its sources: JSON-ready, becomes ``config.method``.
        facts: for run.json.
        labels_used: gold labels that shaped the decision, by split.
        ground: rows, task and data.
        against: the runs that it is tested against on the same rows.
        cost: what making it cost.
    """

    folder: Path
    method: str
    config: dict[str, Any]
    facts: dict[str, Any]
    labels_used: dict[str, int]
    ground: Ground
    against: Sequence[Source] = ()
    cost: dict[str, Any] = field(default_factory=dict)


def open_source(run: Run, *, replies: bool = False) -> Source:
    """Open a run that others can be made from.

    Args:
        run: complete, with stored texts.
        replies: whether what is made of it can answer by replies.

    Raises:
        DataError: it is not complete, keeps no texts, its texts are not those that were predicted, or its answers are
            read off replies where only scores will do.
    """
    record = run.record()
    if record["status"] != "complete":
        raise DataError(f"{run.path}: the run is {record['status']}, not complete; run its recipe again")
    if "generation" in record["facts"] and not replies:
        raise DataError(
            f"{run.path}: its answers are read off replies (head: generate), and what would be made of it carries "
            "scores alone; run its recipe with head: label"
        )
    texts = run.texts()
    if texts is None:
        raise DataError(
            f"{run.path}: keeps no texts (store_texts: false), so a run made from it could not be measured on its rows"
        )
    present = [name for name in SPLITS if (run.path / "predictions" / f"{name}.parquet").is_file()]
    return Source(run, Ground(record, {name: _split(run, record, name, texts) for name in present}, run.check()))


def _split(run: Run, record: dict[str, Any], name: EvaluatedSplit, texts: pl.DataFrame) -> Split:
    table = run.predictions(name)
    own = texts.filter(pl.col("split") == name)
    known = dict(zip(own["row_id"], own["text"], strict=True))
    found = [known.get(row) for row in table["row_id"]]
    if any(text is None or hash_text(text) != kept for text, kept in zip(found, table["text_hash"], strict=True)):
        raise DataError(f"{run.path}: texts.parquet does not hold the texts of predictions/{name}.parquet")
    kept = [column for column in table.columns if column.startswith("meta_")]
    meta: dict[str, Sequence[str]] = {name.removeprefix("meta_"): table[name].to_list() for name in kept}
    described = record["data"]["splits"].get(name, {})
    return Split(
        name=name,
        texts=[str(text) for text in found],
        labels=table["gold"].to_list(),
        row_ids=table["row_id"].to_list(),
        meta=meta,
        source=described.get("source") or "",
    )


def refuse_existing(folder: Path) -> None:
    """Never write over something.

    Raises:
        UsageError: the folder is there.
    """
    if folder.exists():
        raise UsageError(f"{folder}: is there already and is not overwritten; name another folder")


def beside(source: Source, name: str) -> Path:
    """Where a run made from another goes unless told otherwise: next to it, so that they are compared together."""
    return source.run.path.resolve().parent / name


def make_run(making: Making, classifier: Classifier, progress: Progress | None = None) -> Run:
    """Calibrate, predict, save, verify in a fresh process, evaluate: a complete run, or nothing.

    Raises:
        UsageError: the folder is there.
        WorkError: the round trip fails.
    """
    refuse_existing(making.folder)
    shown, ground = progress or SilentProgress(), making.ground
    with atomic_path(making.folder) as folder:
        folder.mkdir()
        run = Run(folder)
        record = _opening(making)
        with RunLog(folder / "log.jsonl") as log, PeakMemory() as memory:
            record["cost"] |= _predict(run, classifier, ground, record, shown)
            log.note("predicted")
            run.write_record({**record, "status": "running"})
            write_json(folder / "metrics.json", evaluate_run(run))
            classifier.save(folder / "model")
            probe = probe_texts(ground.splits["validation"].texts)
            trip = verify_saved(classifier, folder / "model", probe, tolerance=tolerance_of(record))
            log.note("round trip verified")
        record["facts"] |= {
            "round_trip": trip.facts(),
            "paired": [paired(other.run, run, ground) for other in making.against],
        }
        record["cost"] |= {"disk_bytes": folder_bytes(folder / "model"), "peak_memory_bytes": memory.peak_bytes}
        if ground.check is not None:
            write_json(folder / "check.json", ground.check)
        _store_texts(folder, ground)
        run.write_record({**record, "status": "complete", "finished": _now()})
    return Run(making.folder)


def _store_texts(folder: Path, ground: Ground) -> None:
    table = pl.concat(
        pl.DataFrame({"row_id": list(split.row_ids), "split": [name] * len(split), "text": list(split.texts)})
        for name, split in ground.splits.items()
    )
    table.write_parquet(folder / "texts.parquet", compression="zstd")


def _opening(making: Making) -> dict[str, Any]:
    """``run.json`` before anything was measured: the ground's, where nothing else is said."""
    config = {**making.ground.record["config"], "method": {"kind": making.method, **making.config}}
    return {
        **making.ground.record,
        "name": making.folder.name,
        "started": _now(),
        "error": None,
        "config": config,
        "config_hash": hash_json(config),
        "method": making.method,
        "display": making.method,
        "labels_used": dict(making.labels_used),
        "cost": dict(making.cost),
        "facts": dict(making.facts),
        "versions": versions(),
        "hardware": hardware(),
    }


def summed_cost(sources: Sequence[Source]) -> dict[str, float | None]:
    """What the sources cost together to make; None where one of them does not say."""
    names = ("train_seconds", "train_tokens", "trainable_parameters", "total_parameters")
    found = {name: [source.record["cost"].get(name) for source in sources] for name in names}
    return {name: None if None in values else sum(values) for name, values in found.items()}


def _predict(
    run: Run, classifier: Classifier, ground: Ground, record: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Calibrate on validation, write the prediction files; what predicting the last of them cost."""
    seconds, rows = 0.0, 0
    for name, split in ground.splits.items():
        began = time.perf_counter()
        logits = classifier.predict_logits(split.texts, progress)
        replies = replies_of(classifier, split.texts, progress)
        seconds, rows = time.perf_counter() - began, len(split)
        if name == "validation":
            calibrate(classifier, logits, split)
            record["calibration"] = {"temperature": classifier.temperature} | thresholds_of(classifier)
            record["labels_used"]["calibration"] = len(split)
        probs = classifier.decision.probabilities(logits, classifier.temperature)
        counted = classifier.count_tokens(split.texts)
        predicted = Predicted(classifier.labels, logits, probs, *counted, replies, classifier.decision)
        run.write_predictions(name, prediction_table(split, predicted))
    each = 1000 * seconds / rows if rows else None
    return {"prediction_seconds": seconds, "prediction_rows": rows, "prediction_seconds_per_1000_rows": each}


def paired(before: Run, after: Run, ground: Ground) -> dict[str, Any]:
    """One run tested against another on the same rows, ``after`` minus ``before``; JSON-ready.

    Of a multi-label task an answer is a set, and right where the whole set is; macro-F1 is over labels.

    Returns:
        ``run`` (the name of ``before``), ``split``, ``rows``, ``changed`` (answers that differ), ``mcnemar_p`` (exact)
        and, for ``accuracy`` and ``macro_f1``, ``before``, ``after`` and the paired bootstrap's `Difference`.
    """
    split: EvaluatedSplit = "test" if (after.path / "predictions" / "test.parquet").is_file() else "validation"
    found = paired_tables(before.predictions(split), after.predictions(split), ground.labels, ground.problem)
    return {"run": before.name, "split": split, **found}


def paired_tables(
    before: pl.DataFrame, after: pl.DataFrame, labels: Sequence[str], problem: Problem
) -> dict[str, Any]:
    """Two prediction tables of the same rows, as `paired` compares runs: its result without ``run`` and ``split``."""
    first, second = with_shared_sets([read_arrays(table, labels, problem) for table in (before, after)])
    found: dict[str, Any] = {
        "rows": len(first.gold),
        "changed": int((first.predicted != second.predicted).sum()),
        "mcnemar_p": mcnemar(second.predicted == second.gold, first.predicted == first.gold).p_value,
    }
    metrics: tuple[Metric, ...] = ("accuracy", "macro_f1")
    for metric in metrics:
        answers, classes = (second.predicted, first.predicted), first.classes(labels)
        difference = paired_difference(first.gold, *answers, classes, metric=metric)
        scores = {"before": first.score(metric, labels), "after": second.score(metric, labels)}
        found[metric] = scores | asdict(difference)
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
