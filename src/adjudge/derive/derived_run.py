"""Runs made from other runs: the same rows, another classifier, a complete run folder of its own.

The rows come from a run's stored texts and prediction files, so the original data need not be at hand.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.errors import UsageError
from adjudge.core.hashing import hash_json
from adjudge.core.protocols import Classifier, Progress, SilentProgress, replies_of
from adjudge.core.runs import Predicted, Run, prediction_table
from adjudge.evaluate.calibrate import calibrate, thresholds_of
from adjudge.evaluate.paired_runs import paired
from adjudge.evaluate.predictions import evaluate_run
from adjudge.experiment.log import RunLog
from adjudge.experiment.measure import PeakMemory, folder_bytes, hardware, versions
from adjudge.experiment.neighbours import batch_facts
from adjudge.experiment.source_runs import RunData, SourceRun
from adjudge.models.classifiers.round_trip import probe_texts, tolerance_of, verify_saved


@dataclass(frozen=True)
class DerivedRun:
    """A run that is to be made of others.

    Attributes:
        folder: of the new run; must not be there.
        method: its kind and its name in tables.
        config: what shaped it beside its sources: JSON-ready, becomes ``config.method``.
        facts: for run.json.
        labels_used: gold labels that shaped the decision, by split.
        data: task and rows.
        against: the runs that it is tested against on the same rows.
        cost: what making it cost.
    """

    folder: Path
    method: str
    config: dict[str, Any]
    facts: dict[str, Any]
    labels_used: dict[str, int]
    data: RunData
    against: Sequence[SourceRun] = ()
    cost: dict[str, Any] = field(default_factory=dict)


def refuse_existing(folder: Path) -> None:
    """Never write over something.

    Raises:
        UsageError: the folder is there.
    """
    if folder.exists():
        raise UsageError(f"{folder}: is there already and is not overwritten; name another folder")


def make_run(derived: DerivedRun, classifier: Classifier, progress: Progress | None = None) -> Run:
    """Calibrate, predict, save, verify in a fresh process, evaluate: a complete run, or nothing.

    Raises:
        UsageError: the folder is there.
        WorkError: the round trip fails.
    """
    refuse_existing(derived.folder)
    shown, data = progress or SilentProgress(), derived.data
    with atomic_path(derived.folder) as folder:
        folder.mkdir()
        run = Run(folder)
        record = _opening(derived)
        with RunLog(folder / "log.jsonl") as log, PeakMemory() as memory:
            record["cost"] |= _predict(run, classifier, data, record, shown)
            log.note("predicted")
            batches = batch_facts(classifier, run, data.splits)
            run.write_record({**record, "status": "running"})
            write_json(folder / "metrics.json", evaluate_run(run))
            classifier.save(folder / "model")
            probe = probe_texts(data.splits["validation"].texts)
            trip = verify_saved(classifier, folder / "model", probe, tolerance=tolerance_of(record))
            log.note("round trip verified")
        record["facts"] |= batches | {
            "round_trip": trip.facts(),
            "paired": [paired(other.run, run, data.labels, data.problem) for other in derived.against],
        }
        record["cost"] |= {"disk_bytes": folder_bytes(folder / "model"), "peak_memory_bytes": memory.peak_bytes}
        if data.check is not None:
            write_json(folder / "check.json", data.check)
        _store_texts(folder, data)
        run.write_record({**record, "status": "complete", "finished": _now()})
    return Run(derived.folder)


def _store_texts(folder: Path, data: RunData) -> None:
    table = pl.concat(
        pl.DataFrame({"row_id": list(split.row_ids), "split": [name] * len(split), "text": list(split.texts)})
        for name, split in data.splits.items()
    )
    table.write_parquet(folder / "texts.parquet", compression="zstd")


def _opening(derived: DerivedRun) -> dict[str, Any]:
    """``run.json`` before anything was measured: the record of the rows' own run, where nothing else is said."""
    config = {**derived.data.record["config"], "method": {"kind": derived.method, **derived.config}}
    return {
        **derived.data.record,
        "name": derived.folder.name,
        "started": _now(),
        "error": None,
        "config": config,
        "config_hash": hash_json(config),
        "method": derived.method,
        "display": derived.method,
        "labels_used": dict(derived.labels_used),
        "cost": dict(derived.cost),
        "facts": dict(derived.facts),
        "versions": versions(),
        "hardware": hardware(),
    }


def summed_cost(sources: Sequence[SourceRun]) -> dict[str, float | None]:
    """What the sources cost together to make; None where one of them does not say."""
    names = ("train_seconds", "train_tokens", "trainable_parameters", "total_parameters")
    found = {name: [source.record["cost"].get(name) for source in sources] for name in names}
    return {name: None if None in values else sum(values) for name, values in found.items()}


def _predict(
    run: Run, classifier: Classifier, data: RunData, record: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Calibrate on validation, write the prediction files; what predicting the last of them cost."""
    seconds, rows = 0.0, 0
    for name, split in data.splits.items():
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
