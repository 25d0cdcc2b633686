"""Complete runs, opened to go on from: their rows with texts and gold labels, as they were measured.

The rows come from a run's stored texts and prediction files, so the original data need not be at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_text
from adjudge.core.problem import Problem, problem_of
from adjudge.core.runs import EvaluatedSplit, Run
from adjudge.core.types import Split

SPLITS: tuple[EvaluatedSplit, ...] = ("validation", "test")


@dataclass(frozen=True)
class RunData:
    """The rows that a run is measured on, and what is known of them.

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
class SourceRun:
    """A complete run, opened to make another one from."""

    run: Run
    data: RunData

    @property
    def record(self) -> dict[str, Any]:
        """Its ``run.json``."""
        return self.data.record

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set, in order."""
        return self.data.labels

    @property
    def splits(self) -> dict[EvaluatedSplit, Split]:
        """The rows that it was measured on."""
        return self.data.splits

    @property
    def model(self) -> Path:
        """The folder of its classifier."""
        return self.run.path / "model"


def open_run(run: Run, *, replies: bool = False) -> SourceRun:
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
    return SourceRun(run, RunData(record, {name: _split(run, record, name, texts) for name in present}, run.check()))


def _split(run: Run, record: dict[str, Any], name: EvaluatedSplit, texts: pl.DataFrame) -> Split:
    table = run.predictions(name)
    own = texts.filter(pl.col("split") == name)
    known = dict(zip(own["row_id"], own["text"], strict=True))
    matched = [known.get(row) for row in table["row_id"]]
    if any(text is None or hash_text(text) != kept for text, kept in zip(matched, table["text_hash"], strict=True)):
        raise DataError(f"{run.path}: texts.parquet does not hold the texts of predictions/{name}.parquet")
    kept = [column for column in table.columns if column.startswith("meta_")]
    meta: dict[str, Sequence[str]] = {name.removeprefix("meta_"): table[name].to_list() for name in kept}
    described = record["data"]["splits"].get(name, {})
    return Split(
        name=name,
        texts=[str(text) for text in matched],
        labels=table["gold"].to_list(),
        row_ids=table["row_id"].to_list(),
        meta=meta,
        source=described.get("source") or "",
    )


def beside(source: SourceRun, name: str) -> Path:
    """Where a run made from another goes unless told otherwise: next to it, so that they are compared together."""
    return source.run.path.resolve().parent / name
