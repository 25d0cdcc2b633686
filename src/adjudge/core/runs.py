"""Run folders: the files through which the stages speak to each other.

    runs/<recipe>/split.json    made splits as row ids, shared by the recipe's runs
    runs/<recipe>/<run>/
      run.json                  resolved config, seeds, hashes, versions, hardware, cost, status
      metrics.json              every metric of `evaluate`, recomputable from the predictions
      check.json                what the data gate found
      log.jsonl                 one event a line: steps, evaluations, notes
      predictions/validation.parquet, predictions/test.parquet
      texts.parquet             row_id, split and text; left out by `store_texts: false`
      model/                    the classifier

What the files hold is described in ARCHITECTURE.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from adjudge.core.atomic import atomic_path, read_json, write_json
from adjudge.core.decision import PLAIN, Decision
from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_text
from adjudge.core.types import Reply, Split

FORMAT = 1
SPLIT_FILE = "split.json"
Status = Literal["running", "complete", "failed", "interrupted"]
EvaluatedSplit = Literal["validation", "test"]


@dataclass(frozen=True)
class Run:
    """One run folder. Reads lazily; knows no model library."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def record(self) -> dict[str, Any]:
        """``run.json``.

        Raises:
            DataError: the folder is no run of adjudge.
        """
        file = self.path / "run.json"
        if not file.is_file():
            raise DataError(f"{self.path}: not a run folder (it has no run.json)")
        try:
            value = read_json(file)
        except json.JSONDecodeError as error:
            raise DataError(f"{file}: not valid JSON ({error})") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(f"{file}: unknown run format {value.get('format') if isinstance(value, dict) else None!r}")
        return value

    @property
    def status(self) -> Status:
        """How far the run is."""
        status: Status = self.record()["status"]
        return status

    def write_record(self, record: dict[str, Any]) -> None:
        """Write ``run.json`` atomically."""
        write_json(self.path / "run.json", {"format": FORMAT, **record})

    def metrics(self) -> dict[str, Any]:
        """``metrics.json``: ``{"validation": {...}, "test": {...}}``."""
        return dict(read_json(self.path / "metrics.json"))

    def check(self) -> dict[str, Any] | None:
        """``check.json``, or None where no gate ran."""
        file = self.path / "check.json"
        return dict(read_json(file)) if file.is_file() else None

    def log(self) -> Iterator[dict[str, Any]]:
        """The events of ``log.jsonl``; a half line that a kill left at the end is skipped."""
        file = self.path / "log.jsonl"
        if not file.is_file():
            return
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                if line.endswith("\n"):
                    yield json.loads(line)

    def texts(self) -> pl.DataFrame | None:
        """``texts.parquet`` (``row_id``, ``split``, ``text``), or None where texts were not stored."""
        file = self.path / "texts.parquet"
        return pl.read_parquet(file) if file.is_file() else None

    def predictions(self, split: EvaluatedSplit) -> pl.DataFrame:
        """The prediction table of a split, columns as in `prediction_table`."""
        file = self.path / "predictions" / f"{split}.parquet"
        if not file.is_file():
            raise DataError(f"{self.path}: no predictions for {split} (status {self.record()['status']})")
        return pl.read_parquet(file)

    def write_predictions(self, split: EvaluatedSplit, table: pl.DataFrame) -> None:
        """Write a prediction table atomically."""
        with atomic_path(self.path / "predictions" / f"{split}.parquet") as temporary:
            table.write_parquet(temporary, compression="zstd")


@dataclass(frozen=True)
class Predicted:
    """What a classifier answered for a split: all ``[N, C]`` or ``[N]``.

    Where there are ``replies``, they decide: the scores are those of the closed set, beside them. Otherwise `decision`
    says how the scores decide.
    """

    labels: Sequence[str]
    logits: npt.NDArray[np.float32]
    probs: npt.NDArray[np.float32]
    n_tokens: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    replies: Sequence[Reply] | None = None
    decision: Decision = PLAIN


def prediction_table(split: Split, predicted: Predicted) -> pl.DataFrame:
    """The prediction file of a split.

    Columns: ``row_id``, ``text_hash``, ``n_chars``, ``n_tokens``, ``truncated``, ``gold``, ``predicted``,
    ``parse_status`` ("scored": the closed set was scored; "parsed", "unparsed": a reply was read, or could not be,
    and then ``predicted`` is null), ``reply`` (what was written, where something was), ``prob_<label>``,
    ``logit_<label>``, ``meta_<column>``. Probabilities are calibrated, logits are not; both are the closed set's.
    """
    labels = list(predicted.labels)
    columns: dict[str, Any] = {
        "row_id": list(split.row_ids),
        "text_hash": [hash_text(text) for text in split.texts],
        "n_chars": [len(text) for text in split.texts],
        "n_tokens": predicted.n_tokens.astype(np.int64),
        "truncated": predicted.truncated.astype(bool),
        "gold": list(split.labels),
        **_decided(predicted, labels),
    }
    columns |= {f"prob_{label}": predicted.probs[:, i].astype(np.float32) for i, label in enumerate(labels)}
    columns |= {f"logit_{label}": predicted.logits[:, i].astype(np.float32) for i, label in enumerate(labels)}
    columns |= {f"meta_{name}": list(values) for name, values in split.meta.items()}
    return pl.DataFrame(columns, schema_overrides={"gold": pl.String, "predicted": pl.String})


def _decided(predicted: Predicted, labels: Sequence[str]) -> dict[str, list[str] | list[str | None]]:
    """The columns that say what was answered: by the scores, or by the reply and nothing else."""
    if predicted.replies is None:
        answers: list[str | None] = [*predicted.decision.answers(predicted.probs, labels)]
        return {"predicted": answers, "parse_status": ["scored"] * len(predicted.probs)}
    return {
        "predicted": [reply.label for reply in predicted.replies],
        "parse_status": ["unparsed" if reply.label is None else "parsed" for reply in predicted.replies],
        "reply": [reply.text for reply in predicted.replies],
    }


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs at these paths; a folder of runs stands for all runs below it, sorted by name.

    The recipe's ``split.json`` lies beside its runs, so a shell's ``runs/<recipe>/*`` names it too; it is passed over.

    Raises:
        DataError: a path is no run and holds none.
    """
    runs: list[Run] = []
    for path in paths:
        if path.name == SPLIT_FILE and path.is_file() and len(paths) > 1:
            continue
        if (path / "run.json").is_file():
            runs.append(Run(path))
            continue
        below = sorted(file.parent for file in path.glob("*/run.json")) if path.is_dir() else []
        if not below:
            raise DataError(f"{path}: no run folder and none below it")
        runs.extend(Run(folder) for folder in below)
    return list(dict.fromkeys(runs))
