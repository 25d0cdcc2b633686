"""One run: fit, calibrate, predict, save, verify the round trip, evaluate; everything into its folder."""

from __future__ import annotations

import gc
import re
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.errors import WorkError, without_credentials
from adjudge.core.problem import stated
from adjudge.core.protocols import Classifier, Progress, replies_of
from adjudge.core.runs import EvaluatedSplit, Predicted, Run, Status, prediction_table
from adjudge.core.types import Reply
from adjudge.evaluate.calibrate import calibrate, thresholds_of
from adjudge.evaluate.predictions import evaluate_run
from adjudge.experiment.inputs import Inputs, split_records
from adjudge.experiment.log import RunLog
from adjudge.experiment.measure import PeakMemory, folder_bytes, hardware, versions
from adjudge.experiment.neighbours import batch_facts
from adjudge.experiment.resume import CHECKPOINT, clear_checkpoint, prepare_resume
from adjudge.methods import METHODS, Fitted, Setting
from adjudge.models.classifiers.round_trip import probe_texts, tolerance_of, verify_saved
from adjudge.recipe.recipe import PlannedRun
from adjudge.train.checkpoints import Checkpoints

# Facts that have a place of their own in run.json.
_COSTS = ("train_tokens", "trainable_parameters", "total_parameters")
FitTask = Callable[[Setting], Fitted]
"""Fits to data that it knows; what surrounds the fit is told. A fact ``train_seconds`` says what it took."""
# Folders of an absolute path, but neither a URL nor "and/or".
_PATH = re.compile(r"(?<![\w/:.~])(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\":;,]+[\\/])+")


def execute(
    planned: PlannedRun,
    inputs: Inputs,
    folder: Path,
    progress: Progress,
    *,
    resume: bool = False,
    fit: FitTask | None = None,
) -> str | None:
    """Do one run in an empty folder, or go on with one. ``status: complete`` is written when all else is on disk.

    Args:
        planned: the run.
        inputs: its data.
        folder: where it goes.
        progress: where to show how far the work is.
        resume: whether the folder holds a checkpoint to go on from.
        fit: fits in place of the planned method.

    Returns:
        None, or why the run failed (its record and its log say so too).

    Raises:
        KeyboardInterrupt: after the run has been marked interrupted.
    """
    run, record = Run(folder), opening_record(planned, inputs)
    try:
        folder.mkdir(parents=True, exist_ok=resume)
        since = 0.0
        if resume:
            record["started"], since = run.record()["started"], prepare_resume(run)
        run.write_record(record)
        with RunLog(folder / "log.jsonl", since) as log:
            try:
                with PeakMemory() as memory:
                    _work(fit or _method(planned, inputs), inputs, run, record, log, progress)
                record["cost"]["peak_memory_bytes"] = memory.peak_bytes
                record["facts"]["memory_at_start_bytes"] = memory.start_bytes
            except BaseException:
                log.note(traceback.format_exc(), event="error")
                raise
        _close(run, record, "complete", None)
        clear_checkpoint(folder)
    except KeyboardInterrupt:
        _close_anyway(run, record, "interrupted", None)
        raise
    except Exception as error:  # noqa: BLE001 - whatever ends a run is recorded, and the others go on
        message = error_line(error)
        _close_anyway(run, record, "failed", message)
        return message
    finally:
        gc.collect()
    return None


def error_line(error: BaseException) -> str:
    """An error as one line without the folders of this machine, for run.json."""
    text = str(error) if isinstance(error, WorkError) else f"{type(error).__name__}: {error}"
    return _PATH.sub("", without_credentials(" ".join(text.split())))


def opening_record(planned: PlannedRun, inputs: Inputs) -> dict[str, Any]:
    """``run.json`` as it is when the run begins; keys are described in ARCHITECTURE.md."""
    task = inputs.recipe.task
    return {
        "status": "running",
        "name": planned.name,
        "recipe": inputs.recipe.name,
        "started": _now(),
        "finished": None,
        "error": None,
        "config": planned.config,
        "config_hash": planned.config_hash,
        "task": {"name": task.name, "version": task.version, "hash": task.hash(), "labels": list(inputs.labels)}
        | stated(task.problem),
        "data": {
            "split_seed": inputs.recipe.data.split_seed,
            "accepted": list(inputs.accepted),
            "splits": split_records(inputs),
        },
        "method": planned.method,
        "display": planned.display,
        "seed": planned.seed,
        "model": None if planned.model is None else {"id": planned.model, "hash": None, "license": None},
        "template": None,
        "labels_used": {},
        "constants": [constant.model_dump() for constant in inputs.recipe.recipe.constants],
        "calibration": {"temperature": 1.0},
        "cost": {},
        "facts": {},
        "versions": versions(),
        "hardware": hardware(),
    }


def _work(fit: FitTask, inputs: Inputs, run: Run, record: dict[str, Any], log: RunLog, progress: Progress) -> None:
    write_json(run.path / "check.json", inputs.check)
    began = time.perf_counter()
    checkpoints = Checkpoints(run.path / CHECKPOINT, inputs.recipe.recipe.checkpoint_seconds, log)
    fitted = fit(_setting(record["seed"], inputs, checkpoints, log, progress))
    spent = checkpoints.earlier_seconds + time.perf_counter() - began
    record["cost"] = {"train_seconds": fitted.facts.pop("train_seconds", spent)}
    _take_facts(record, fitted)
    classifier = fitted.classifier
    log.note("fitted")
    seconds, rows = _predict(fitted, inputs, run, record, progress)
    log.note("predicted")
    record["facts"] |= batch_facts(classifier, run, inputs.predicted())
    log.note("texts alone and among others compared")
    if inputs.start is not None:
        record["facts"]["forgetting"] = inputs.start.forgetting(classifier, inputs.train, progress)
        log.note("forgetting checked")
    if inputs.recipe.recipe.store_texts:
        _store_texts(inputs, run)
    classifier.save(run.path / "model")
    probe = probe_texts(inputs.validation.texts)
    trip = verify_saved(classifier, run.path / "model", probe, tolerance=tolerance_of(record))
    record["facts"]["round_trip"] = trip.facts()
    log.note("round trip verified")
    record["cost"] |= {
        "prediction_seconds": seconds,
        "prediction_rows": rows,
        "prediction_seconds_per_1000_rows": 1000 * seconds / rows if rows else None,
        "disk_bytes": folder_bytes(run.path / "model"),
        **{name: record["facts"].pop(name, None) for name in _COSTS},
    }
    record["hardware"] = hardware()  # again: by now torch may be imported, and it knows the GPU
    run.write_record(record)
    write_json(run.path / "metrics.json", evaluate_run(run))


def _method(planned: PlannedRun, inputs: Inputs) -> FitTask:
    method = METHODS.load(planned.method)
    return lambda setting: method.fit(inputs.train, inputs.validation, planned.options, setting)


def _setting(seed: int, inputs: Inputs, checkpoints: Checkpoints, log: RunLog, progress: Progress) -> Setting:
    return Setting(
        task=inputs.recipe.task,
        labels=inputs.labels,
        seed=seed,
        cache=inputs.cache,
        max_seconds=inputs.recipe.recipe.budget.max_train_seconds,
        checkpoints=checkpoints,
        start=None if inputs.start is None else inputs.start.model,
        progress=progress,
        log=log,
    )


def _take_facts(record: dict[str, Any], fitted: Fitted) -> None:
    facts = dict(fitted.facts)
    record["model"] = facts.pop("model", record["model"])
    record["template"] = facts.pop("template", None)
    record["labels_used"] = dict(fitted.labels_used)
    if METHODS.load(record["method"]).deterministic:
        facts["deterministic"] = True
    record["facts"] = facts


def _predict(
    fitted: Fitted, inputs: Inputs, run: Run, record: dict[str, Any], progress: Progress
) -> tuple[float, int]:
    """Calibrate on validation, write both prediction files; seconds and rows of the test prediction.

    Each is predicted once: what the fit has already answered is taken from it. Without a test split the validation
    prediction is the one that is timed, so then it is made again.
    """
    classifier, logits = fitted.classifier, fitted.validation_logits
    began = time.perf_counter()
    if logits is None or inputs.test is None:
        logits = classifier.predict_logits(inputs.validation.texts, progress)
    replies = replies_of(classifier, inputs.validation.texts, progress)
    seconds, rows = time.perf_counter() - began, len(inputs.validation)
    calibrate(classifier, logits, inputs.validation)
    record["calibration"] = {"temperature": classifier.temperature} | thresholds_of(classifier)
    record["labels_used"]["calibration"] = len(inputs.validation)
    _write(run, "validation", inputs, classifier, logits, replies)
    if inputs.test is not None:
        began = time.perf_counter()
        logits = classifier.predict_logits(inputs.test.texts, progress)
        replies = replies_of(classifier, inputs.test.texts, progress)
        seconds, rows = time.perf_counter() - began, len(inputs.test)
        _write(run, "test", inputs, classifier, logits, replies)
    return seconds, rows


def _write(
    run: Run, name: EvaluatedSplit, inputs: Inputs, classifier: Classifier, logits: Any, replies: list[Reply] | None
) -> None:
    split = inputs.splits()[name]
    probs = classifier.decision.probabilities(logits, classifier.temperature)
    counted = classifier.count_tokens(split.texts)
    predicted = Predicted(classifier.labels, logits, probs, *counted, replies, classifier.decision)
    table = prediction_table(split, predicted)
    if not inputs.recipe.recipe.store_texts:
        table = table.drop("reply", strict=False)  # a reply may quote its text
    run.write_predictions(name, table)


def _store_texts(inputs: Inputs, run: Run) -> None:
    splits = [inputs.validation] if inputs.test is None else [inputs.validation, inputs.test]
    table = pl.concat(
        pl.DataFrame(
            {"row_id": list(split.row_ids), "split": [split.name] * len(split), "text": list(split.texts)},
            schema={"row_id": pl.String, "split": pl.String, "text": pl.String},
        )
        for split in splits
    )
    with atomic_path(run.path / "texts.parquet") as temporary:
        table.write_parquet(temporary, compression="zstd")


def _close(run: Run, record: dict[str, Any], status: Status, error: str | None) -> None:
    run.write_record({**record, "status": status, "error": error, "finished": _now()})


def _close_anyway(run: Run, record: dict[str, Any], status: Status, error: str | None) -> None:
    """Record how a run ended; on a full disk even that may fail, and "running" stays, which is not complete."""
    for attempt in (lambda: _close(run, record, status, error), lambda: _close(run, _plain(record), status, error)):
        if _succeeds(attempt):
            return


def _succeeds(write: Callable[[], None]) -> bool:
    try:
        write()
    except (OSError, TypeError, ValueError):
        return False
    return True


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what a method handed in, should that be the part that cannot be written."""
    return {**record, "facts": {}, "cost": {}}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
