"""`adjudge predict`: labels for new texts, from a file, from the command line or from standard input."""

from __future__ import annotations

import codecs
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adjudge.cli.shared.folders import one_run
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.reading import (
    DELIMITER,
    FORMAT,
    NO_HEADER,
    SETTINGS,
    SKIP_BAD_ROWS,
    source_of,
    source_options,
)
from adjudge.cli.shared.screen import complain
from adjudge.core.errors import UsageError

if TYPE_CHECKING:
    from adjudge.core.task import Source
    from adjudge.experiment.predict import PredictOptions, PredictSummary

EPILOG = """\
[bold]Examples[/]

  adjudge predict runs/reviews/lora-smollm2-135m-s0-1a2b3c4d new.csv -o labelled.parquet
  adjudge predict runs/reviews/tfidf-s0-1a2b3c4d --text "Worked at once." --text "Never again."
  cat texts.txt | adjudge predict runs/reviews/tfidf-s0-1a2b3c4d - > labelled.jsonl
  adjudge predict runs/reviews/tfidf-s0-1a2b3c4d new.csv -o labelled.csv --min-confidence 0.8
  adjudge predict runs/reviews/tfidf-s0-1a2b3c4d new.tsv -o labelled.tsv --source quoting=none --skip-bad-rows 5

Every row comes out, or nothing is written; a bad row is left out only if you say so, and is shown. All input \
columns are kept; then come label, confidence and prob_<label>. The same command after a kill goes on where it was."""

STANDARD_INPUT = "-"


def predict(  # noqa: PLR0913 - a command's options are its parameters
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    file: Annotated[
        str | None, typer.Argument(help="CSV, JSON lines, Parquet, *.txt (a text a line), …; - is standard input.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="*.csv, *.tsv, *.jsonl, *.parquet. Default: JSON lines, standard output."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="A text to judge, in place of a file. Repeatable.")] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Below it there is no label: the classifier abstains.")
    ] = 0.0,
    text_column: Annotated[
        list[str] | None, typer.Option(help="Text column of the file. Default: the task's. Repeatable.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put before the new columns' names, should they clash.")] = "",
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows read, predicted and written at a time.")] = 2048,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
    form: Annotated[str | None, FORMAT] = None,
    delimiter: Annotated[str | None, DELIMITER] = None,
    no_header: Annotated[bool, NO_HEADER] = False,
    skip_bad_rows: Annotated[int, SKIP_BAD_ROWS] = 0,
    settings: Annotated[list[str] | None, SETTINGS] = None,
) -> None:
    """Label new texts with a run's model."""
    from adjudge.experiment.predict import PredictOptions

    if (file is None) == (not text):
        raise UsageError("give either a file (or - for standard input) or --text, and not both")
    reading = source_options(form, delimiter, no_header, skip_bad_rows, settings)
    if file is None and (text_column or reading):
        raise UsageError("--text gives texts, not a file: it takes neither --text-column nor how a file is read")
    if file == STANDARD_INPUT and text_column and not form:
        raise UsageError("--text-column: standard input has columns only with --format, for example --format jsonl")
    options = PredictOptions(
        min_confidence=min_confidence,
        text_columns=("text",) if file is None else tuple(text_column) if text_column else None,
        prefix=prefix,
        batch_rows=batch_rows,
        overwrite=overwrite,
    )
    with tempfile.TemporaryDirectory(prefix="adjudge-predict-") as folder:
        if file is None:
            source = source_of(str(_as_file(text or (), Path(folder) / "texts.jsonl")), {})
        else:
            if file == STANDARD_INPUT:
                file = str(_standard_input(Path(folder) / "standard input"))
                reading = {**_stream_options(Path(file)), **reading}
            source = source_of(file, reading)
        target = Path(folder) / "labelled.jsonl" if output is None else output
        summary = _predict(run, source, target, options, shown_rows=output is not None)
        if output is None:
            _copy(target)
        else:
            complain(_sentence(summary, output), mark="done")


def _predict(run: Path, source: Source, target: Path, options: PredictOptions, *, shown_rows: bool) -> PredictSummary:
    from adjudge.experiment.predict import predict_file

    found = one_run(run)
    if not shown_rows:
        return predict_file(found, source, target, options)
    with progress() as shown:
        return predict_file(found, source, target, options, progress=shown)


def _standard_input(path: Path) -> Path:
    """What comes on standard input, as a file, so that it goes the way of every file."""
    with path.open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    return path


def _stream_options(path: Path) -> dict[str, Any]:
    """How a stream is read where nothing is said: UTF-8 unless its mark says otherwise; objects, or a text a line."""
    with path.open("rb") as stream:
        start = stream.readline()
    marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        is_record = isinstance(json.loads(start.decode("utf-8-sig")), dict)
    except ValueError:
        is_record = False
    return {"encoding": None if marked else "utf-8", "format": "jsonl" if is_record else "text"}


def _as_file(texts: Iterable[str], path: Path) -> Path:
    """Texts as JSON lines, so that they go the way of every file."""
    with path.open("w", encoding="utf-8") as stream:
        for text in texts:
            stream.write(json.dumps({"text": text}) + "\n")
    return path


def _copy(path: Path) -> None:
    """Write a UTF-8 file to standard output."""
    with path.open(encoding="utf-8") as stream:
        if callable(reconfigure := getattr(sys.stdout, "reconfigure", None)):
            reconfigure(encoding="utf-8")
        shutil.copyfileobj(stream, sys.stdout)
    sys.stdout.flush()


def _sentence(summary: PredictSummary, output: Path) -> str:
    parts = [f"{summary.rows:,} rows", f"{summary.answered:,} labelled"]
    if summary.abstained:
        parts.append(f"{summary.abstained:,} abstained")
    if summary.unparsed:
        parts.append(f"{summary.unparsed:,} with a reply that is no label")
    if summary.without_text:
        parts.append(f"{summary.without_text:,} without text")
    if summary.resumed_rows:
        parts.append(f"{summary.resumed_rows:,} of them from an earlier, interrupted prediction")
    return f"{', '.join(parts)}; written to {output}"
