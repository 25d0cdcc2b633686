"""Prediction over files: batches in, batches out, order kept, every row accounted for, resumable after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.answers import answer_columns, new_columns
from adjudge.core.atomic import atomic_path, read_json, write_json
from adjudge.core.errors import DataError, UsageError, WorkError
from adjudge.core.hashing import hash_json
from adjudge.core.protocols import Classifier, Progress, SilentProgress
from adjudge.core.runs import Run
from adjudge.core.task import Source, Task
from adjudge.data.files.class_folders import text_files
from adjudge.data.readers import iter_tables
from adjudge.data.rows import texts_of
from adjudge.experiment.lock import exclusive
from adjudge.experiment.new_texts import reading_of
from adjudge.experiment.output import output_format, refuse_columns, write_output
from adjudge.models.classifiers.storage import load_classifier

_FINGERPRINT_BYTES = 1 << 20


@dataclass(frozen=True)
class PredictOptions:
    """How to predict over a file.

    Attributes:
        min_confidence: below it the classifier abstains: ``label`` is missing, the confidence stays. 0 to 1.
        text_columns: columns that hold the text; default: those of the run's task.
        prefix: put before the names of the new columns, where they clash with the file's.
        batch_rows: rows read, predicted and written at a time; a killed prediction loses at most one batch.
        overwrite: replace an output that is there, and drop the parts of another prediction into it.
    """

    min_confidence: float = 0.0
    text_columns: tuple[str, ...] | None = None
    prefix: str = ""
    batch_rows: int = 2_048
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"min_confidence: must lie between 0 and 1, got {self.min_confidence}")
        if self.batch_rows < 1:
            raise UsageError(f"batch_rows: must be at least 1, got {self.batch_rows}")


@dataclass(frozen=True)
class PredictSummary:
    """What became of the rows.

    Attributes:
        rows: rows of the input, and of the output.
        answered: rows with a label.
        abstained: rows whose confidence was below `PredictOptions.min_confidence`.
        unparsed: rows whose reply stands for no label; they get neither label nor confidence.
        without_text: rows with no text; they get neither label nor probabilities.
        resumed_rows: rows that an earlier, killed prediction had done.
        labels: answers by label; a set counts for each of its labels.
    """

    rows: int = 0
    answered: int = 0
    abstained: int = 0
    unparsed: int = 0
    without_text: int = 0
    resumed_rows: int = 0
    labels: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: PredictSummary) -> PredictSummary:
        """The sum of two parts."""
        names = [*self.labels, *(name for name in other.labels if name not in self.labels)]
        return PredictSummary(
            self.rows + other.rows,
            self.answered + other.answered,
            self.abstained + other.abstained,
            self.unparsed + other.unparsed,
            self.without_text + other.without_text,
            self.resumed_rows + other.resumed_rows,
            {name: self.labels.get(name, 0) + other.labels.get(name, 0) for name in names},
        )


def predict_file(
    run: Run,
    source: Path | Source,
    output: Path,
    options: PredictOptions | None = None,
    *,
    progress: Progress | None = None,
) -> PredictSummary:
    """Predict every row of a file: as many rows come out as go in, or nothing.

    All input columns are kept, in order; then come ``label`` (of several labels the set as one text), ``confidence``,
    ``reply`` (of a head that writes), ``label_level_<n>`` and ``confidence_level_<n>`` (of a tree, from the top down)
    and ``prob_<label>``. Finished batches lie in ``<output>.parts/``; the same command after a kill goes on behind the
    last one. They are joined at the end.

    Args:
        run: a complete run.
        source: CSV, JSON lines or Parquet (other formats are read whole); a `Source` where the file has to be told
            how it is read. What it does not say is taken from the file and from how the run's own data was read.
        output: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        options: see `PredictOptions`.
        progress: counts rows.

    Raises:
        UsageError: an output that is there, is the input, or whose format is unknown; parts of something else.
        DataError: an incomplete run, an input that cannot be read, column names that clash, or columns that the
            output cannot hold. Nothing is predicted then.
        WorkError: rows were lost (the output is not written then), or another process predicts into the same output.

    Warns:
        AdjudgeWarning: something unusual was found about the file, or bad rows are left out (`Source.skip_bad_rows`).
    """
    chosen = options or PredictOptions()
    given = source if isinstance(source, Source) else Source(path=str(source))
    file = Path(given.path)
    kind = output_format(file, output, overwrite=chosen.overwrite)
    classifier, task = _open(run, chosen.text_columns)
    read, texts = reading_of(given, task, run.record()["config"], classifier.labels)
    if texts is not None and chosen.text_columns is None:
        task = _with_text(task, texts)
    parts = output.with_name(output.name + ".parts")
    shown = progress or SilentProgress()
    total = PredictSummary()
    with _open_parts(parts, _manifest(run, read, chosen), output, chosen.overwrite):
        with shown.task(f"Predicting {file.name}", None) as advance:
            for number, frame in enumerate(iter_tables(read, batch_rows=chosen.batch_rows, strict=True)):
                if not number:
                    refuse_columns(frame.schema, kind, file.name)
                total += _part(classifier, task, frame, parts / f"{number:06d}.parquet", chosen, file.name)
                advance(len(frame))
        write_output(sorted(parts.glob("*.parquet")), output, kind, total.rows)
        shutil.rmtree(parts)
    return total


def predict_texts(run: Run, texts: Sequence[str], *, min_confidence: float = 0.0) -> list[dict[str, Any]]:
    """Predict texts that are at hand.

    Returns:
        For each text ``{"label", "confidence", "probabilities": {label: probability}}``, with ``"reply"`` of a head
        that writes; ``label`` is None where the confidence lies below ``min_confidence``, label and confidence where
        the reply stands for no label, everything where there is no text.

    Raises:
        DataError: an incomplete run.
    """
    PredictOptions(min_confidence=min_confidence)  # refuses what is out of range
    classifier, _ = _open(run, None)
    columns = answer_columns(classifier, texts, min_confidence)
    rows = pl.DataFrame(columns).rows(named=True)
    return [
        {
            "label": row["label"],
            "confidence": row["confidence"],
            "probabilities": None
            if row[f"prob_{classifier.labels[0]}"] is None
            else {label: row[f"prob_{label}"] for label in classifier.labels},
            **({"reply": row["reply"]} if "reply" in row else {}),
        }
        for row in rows
    ]


def _open(run: Run, text_columns: tuple[str, ...] | None) -> tuple[Classifier, Task]:
    """The run's classifier and task; with text columns given, these take the place of the task's own."""
    record = run.record()
    if record["status"] != "complete":
        raise DataError(f"{run.path}: the run is {record['status']}, not complete; run its recipe again")
    task = Task.model_validate(record["config"]["task"])
    return load_classifier(run.path / "model"), _with_text(task, text_columns) if text_columns else task


def _with_text(task: Task, columns: Sequence[str]) -> Task:
    return task.model_copy(update={"text": list(columns), "text_template": None})


def _manifest(run: Run, source: Source, options: PredictOptions) -> dict[str, Any]:
    """What parts depend on: the input (size, time, first and last megabyte), how it is read, run and options."""
    file = Path(source.path)
    if not file.is_file():
        files = text_files(file) if file.is_dir() else []  # else the reader says what is wrong with it
        given: Any = [[one.name, one.stat().st_size, one.stat().st_mtime_ns] for one in files]
    else:
        status = file.stat()
        with file.open("rb") as stream:
            digest = hashlib.sha256(stream.read(_FINGERPRINT_BYTES))
            stream.seek(max(0, status.st_size - _FINGERPRINT_BYTES))
            digest.update(stream.read(_FINGERPRINT_BYTES))
        given = {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sample_hash": digest.hexdigest()}
    record = run.record()
    shaping = asdict(replace(options, overwrite=False))
    return {
        "input": given,
        "source": source.model_dump(mode="json", exclude={"path"}),
        "run": hash_json([record["config_hash"], record["started"], record["finished"]]),
        "options": json.loads(json.dumps(shaping)),
    }


@contextmanager
def _open_parts(parts: Path, manifest: dict[str, Any], output: Path, overwrite: bool) -> Iterator[None]:
    """Make the folder of parts, or take up the one that a killed prediction of the same kind left, and hold it.

    Unusable input leaves nothing behind: a folder without any part goes away again.
    """
    file = parts / "manifest.json"
    if parts.exists() and not file.is_file() and (not parts.is_dir() or any(parts.glob("[!.]*"))):
        raise UsageError(f"{parts}: is in the way of the parts of {output.name}; move it away")
    parts.mkdir(parents=True, exist_ok=True)
    with exclusive(parts / ".lock", f"{output}: another process is predicting into it; wait until it is done"):
        if file.is_file() and read_json(file) != manifest:
            if not overwrite:
                raise UsageError(
                    f"{parts}: holds parts of another prediction (input, run or options differ); "
                    "finish that one, name another output, or --overwrite to drop them"
                )
            for part in parts.glob("*.parquet"):
                part.unlink()
        write_json(file, manifest)
        try:
            yield
        except UsageError:
            if not any(parts.glob("*.parquet")):
                shutil.rmtree(parts)
            raise


def _part(
    classifier: Classifier, task: Task, frame: pl.DataFrame, file: Path, options: PredictOptions, name: str
) -> PredictSummary:
    """Predict one batch into its part file, unless that is there; count what became of its rows."""
    clash = sorted({f"{options.prefix}{column}" for column in new_columns(classifier)} & set(frame.columns))
    if clash:
        raise DataError(
            f"{name}: has the columns {', '.join(clash)} already, which the prediction would write; "
            "choose a prefix for the new columns, for example --prefix adjudge_"
        )
    resumed = file.is_file()
    if not resumed:
        answers = answer_columns(classifier, texts_of(task, frame, name), options.min_confidence)
        renamed = {f"{options.prefix}{column}": values for column, values in answers.items()}
        with atomic_path(file) as temporary:
            # Through memory: a full disk is then an OSError like any other, where polars has errors of its own.
            whole = io.BytesIO()
            frame.hstack(pl.DataFrame(renamed)).write_parquet(whole)
            temporary.write_bytes(whole.getbuffer())
    told = ("label", "confidence", f"prob_{classifier.labels[0]}")
    done = pl.read_parquet(file, columns=[f"{options.prefix}{column}" for column in told])
    if len(done) != len(frame):
        raise WorkError(f"{file}: holds {len(done)} rows, but its batch has {len(frame)}; delete it and run again")
    return _summary(done, classifier, resumed)


def _summary(done: pl.DataFrame, classifier: Classifier, resumed: bool) -> PredictSummary:
    label, confidence, probability = done.get_columns()
    without_text = probability.null_count()
    counts: Counter[str] = Counter()
    for cell, rows in label.drop_nulls().value_counts().iter_rows():
        counts.update(dict.fromkeys(classifier.decision.problem.split(cell), rows))
    return PredictSummary(
        rows=len(label),
        answered=len(label) - label.null_count(),
        abstained=label.null_count() - confidence.null_count(),
        unparsed=confidence.null_count() - without_text,
        without_text=without_text,
        resumed_rows=len(label) if resumed else 0,
        labels={name: counts[name] for name in classifier.labels},
    )
