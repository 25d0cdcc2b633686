"""`adjudge predict`: labels for new texts, from a file, from the command line or from standard input."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adjudge.cli.shared.folders import one_run
from adjudge.cli.shared.progress import progress
from adjudge.cli.shared.screen import complain
from adjudge.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from adjudge.experiment.predict import PredictOptions, PredictSummary

EPILOG = """\
[bold]Examples[/]

  adjudge predict runs/reviews/lora-smollm2-135m-s0-1a2b3c4d new.csv -o labelled.parquet
  adjudge predict runs/reviews/tfidf-s0-1a2b3c4d --text "Worked at once." --text "Never again."
  cat texts.txt | adjudge predict runs/reviews/tfidf-s0-1a2b3c4d - > labelled.jsonl
  adjudge predict runs/reviews/tfidf-s0-1a2b3c4d new.csv -o labelled.csv --min-confidence 0.8

All input columns are kept; then come label, confidence and prob_<label>. The same command after a kill goes on where \
it was."""

STANDARD_INPUT = "-"


def predict(  # noqa: PLR0913 - a command's options are its parameters
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    file: Annotated[
        str | None, typer.Argument(help="CSV, JSON lines, Parquet, …; - reads a text a line from standard input.")
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
) -> None:
    """Label new texts with a run's model."""
    from adjudge.experiment.predict import PredictOptions

    if (file is None) == (not text):
        raise UsageError("give either a file (or - for standard input) or --text, and not both")
    own = file is None or file == STANDARD_INPUT
    if own and text_column:
        raise UsageError("--text-column names columns of a file; there is none with --text or standard input")
    options = PredictOptions(
        min_confidence=min_confidence,
        text_columns=("text",) if own else tuple(text_column) if text_column else None,
        prefix=prefix,
        batch_rows=batch_rows,
        overwrite=overwrite,
    )
    with tempfile.TemporaryDirectory(prefix="adjudge-predict-") as folder:
        if file is not None and not own:
            source = Path(file)
        elif file is not None:
            source = _as_file(_standard_input(), Path(folder) / "standard-input.jsonl")
        else:
            source = _as_file(text or (), Path(folder) / "texts.jsonl")
        target = Path(folder) / "labelled.jsonl" if output is None else output
        summary = _predict(run, source, target, options, shown_rows=output is not None)
        if output is None:
            _copy(target)
        else:
            complain(_sentence(summary, output), mark="done")


def _predict(run: Path, source: Path, target: Path, options: PredictOptions, *, shown_rows: bool) -> PredictSummary:
    from adjudge.experiment.predict import predict_file

    found = one_run(run)
    if not shown_rows:
        return predict_file(found, source, target, options)
    with progress() as shown:
        return predict_file(found, source, target, options, progress=shown)


def _standard_input() -> Iterator[str]:
    """The lines of standard input.

    Raises:
        DataError: bytes that are no UTF-8, with their place.
    """
    offset = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"standard input, line {number}: not UTF-8 at byte {offset + error.start} "
                f"(0x{line[error.start]:02x}); convert it first, for example with iconv"
            ) from error
        offset += len(line)


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
