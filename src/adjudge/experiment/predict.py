"""Prediction over files: batches in, batches out, order kept, every row accounted for, resumable after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from adjudge.data.readers import iter_tables
from adjudge.data.rows import texts_of
from adjudge.experiment.lock import exclusive
from adjudge.models.classifiers.storage import load_classifier

_FINGERPRINT_BYTES = 1 << 20
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


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
    source: Path,
    output: Path,
    options: PredictOptions | None = None,
    *,
    progress: Progress | None = None,
) -> PredictSummary:
    """Predict every row of a file.

    All input columns are kept, in order; then come ``label`` (of several labels the set as one text), ``confidence``,
    ``reply`` (of a head that writes), ``label_level_<n>`` and ``confidence_level_<n>`` (of a tree, from the top down)
    and ``prob_<label>``. Finished batches lie in ``<output>.parts/``; the same command after a kill goes on behind the
    last one. They are joined at the end.

    Args:
        run: a complete run.
        source: CSV, JSON lines or Parquet (other formats are read whole).
        output: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        options: see `PredictOptions`.
        progress: counts rows.

    Raises:
        UsageError: an output that is there, is the input, or whose format is unknown; parts of something else.
        DataError: an incomplete run, an input that cannot be read, or column names that clash.
        WorkError: rows were lost (the output is not written then), or another process predicts into the same output.
    """
    chosen = options or PredictOptions()
    kind = _output_format(source, output, chosen)
    classifier, task = _open(run, chosen.text_columns)
    parts = output.with_name(output.name + ".parts")
    shown = progress or SilentProgress()
    total = PredictSummary()
    with _open_parts(parts, _manifest(run, source, chosen), output, chosen.overwrite):
        with shown.task(f"Predicting {source.name}", None) as advance:
            for number, frame in enumerate(iter_tables(Source(path=str(source)), batch_rows=chosen.batch_rows)):
                total += _part(classifier, task, frame, parts / f"{number:06d}.parquet", chosen, source.name)
                advance(len(frame))
        _join(sorted(parts.glob("*.parquet")), output, kind, total.rows)
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
    if text_columns:
        fits = task.text_template is None
        task = task.model_copy(update={"text": list(text_columns), **({} if fits else {"text_template": None})})
    return load_classifier(run.path / "model"), task


def _output_format(source: Path, output: Path, options: PredictOptions) -> str:
    kind = _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise UsageError(f"{output}: unknown output format; name it {', '.join(f'*{suffix}' for suffix in _FORMATS)}")
    if output.is_dir():
        raise UsageError(f"{output}: is a directory; name a file")
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output}: is the input; name another output")
    if output.exists() and not options.overwrite:
        raise UsageError(f"{output}: is there already and is not overwritten; name another output, or --overwrite")
    return kind


def _manifest(run: Run, source: Path, options: PredictOptions) -> dict[str, Any]:
    """What parts depend on: the input (size, time, first and last megabyte), the run and the options."""
    if not source.is_file():
        return {}  # the reader says what is wrong with it
    status = source.stat()
    with source.open("rb") as stream:
        digest = hashlib.sha256(stream.read(_FINGERPRINT_BYTES))
        stream.seek(max(0, status.st_size - _FINGERPRINT_BYTES))
        digest.update(stream.read(_FINGERPRINT_BYTES))
    record = run.record()
    shaping = asdict(replace(options, overwrite=False))
    return {
        "input": {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sample_hash": digest.hexdigest()},
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


def _join(parts: Sequence[Path], output: Path, kind: str, rows: int) -> None:
    """Write the parts, in order, as one file; memory holds one part at a time."""
    found = sum(pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts)
    if found != rows:
        raise WorkError(f"{output.name}: {rows} rows went in and {found} came out; nothing was written")
    frames = (pl.read_parquet(part) for part in parts)
    with atomic_path(output) as temporary:
        _WRITERS[kind](frames, temporary)


def _write_parquet(frames: Iterator[pl.DataFrame], path: Path) -> None:
    import pyarrow.parquet as pq

    first = next(frames).to_arrow()
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(frame.to_arrow().cast(first.schema))


def _write_jsonl(frames: Iterator[pl.DataFrame], path: Path) -> None:
    with path.open("wb") as stream:
        for frame in frames:
            frame.write_ndjson(stream)


def _write_csv(frames: Iterator[pl.DataFrame], path: Path, separator: str = ",") -> None:
    with path.open("wb") as stream:
        for number, frame in enumerate(frames):
            nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
            flat = frame.with_columns(_as_json(frame[name]) for name in nested) if nested else frame
            flat.write_csv(stream, include_header=number == 0, separator=separator)


def _as_json(series: pl.Series) -> pl.Series:
    """Lists and objects have no form of their own in CSV; they are written as JSON."""
    values = [
        None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in series.to_list()
    ]
    return pl.Series(series.name, values, dtype=pl.String)


_WRITERS: dict[str, Callable[[Iterator[pl.DataFrame], Path], None]] = {
    "csv": _write_csv,
    "tsv": lambda frames, path: _write_csv(frames, path, "\t"),
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
