"""Starting files: look at a data file, write a task and a recipe that run unedited, with comments that explain."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from adjudge.core.atomic import write_text
from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import Source
from adjudge.data.readers import read_table
from adjudge.data.rows import cells

MAX_LABELS = 60
LOOK_ROWS = 20_000
MIN_TEXT_CHARS = 12.0
CHARS_PER_TOKEN = 4.0
EFFICIENCY = 0.3
"""Share of the speed of a large matrix product that training small models reaches; the rest is attention, memory."""

TEXT_NAMES = ("text", "review", "body", "content", "message", "comment", "tweet", "sentence", "question", "title")
LABEL_NAMES = ("label", "class", "category", "sentiment", "target", "rating", "stars", "intent", "topic", "emotion")
_ID_NAME = re.compile(r"(^|[_\W])(id|uuid|key)$", re.IGNORECASE)


@dataclass(frozen=True)
class Starter:
    """What was found and written.

    Attributes:
        task: the task file.
        recipe: the recipe file.
        text: the text column.
        label: the label column.
        id: the row id column, or None.
        rows: rows of the data file.
        labels: the labels, sorted.
        notes: what the user should know, one sentence each.
    """

    task: Path
    recipe: Path
    text: str
    label: str
    id: str | None
    rows: int
    labels: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    """What a column looks like, from its first rows."""

    name: str
    distinct: int
    filled: int
    mean_chars: float
    is_text: bool


def write_starter(
    data_file: Path,
    *,
    folder: Path = Path(),
    name: str | None = None,
    text: str | None = None,
    label: str | None = None,
) -> Starter:
    """Write ``tasks/<name>.yaml`` and ``recipes/<name>.yaml`` for a data file.

    Text is the column of the longest strings, the label one of few distinct short values, a row id one that is
    unique and named like one.

    Args:
        data_file: any file that a task can name.
        folder: where ``tasks/`` and ``recipes/`` go.
        name: of the task and the recipe; default: the file's name.
        text: text column; default: found.
        label: label column; default: found.

    Raises:
        DataError: the file cannot be read, or no text or label column can be told.
        UsageError: one of the files is there already. Nothing is written then.
    """
    table = read_table(Source(path=str(data_file)))
    frame = table.frame
    name = name or _file_name(data_file)
    task, recipe = folder / "tasks" / f"{name}.yaml", folder / "recipes" / f"{name}.yaml"
    existing = [file for file in (task, recipe) if file.exists()]
    if existing:
        raise UsageError(
            f"{' and '.join(map(str, existing))}: there already, and not overwritten; "
            "move them away, or choose another name"
        )
    columns = _look(frame)
    text = text or _guess_text(columns, data_file.name, label)
    label = label or _guess_label(columns, data_file.name, text)
    row_id = next((c.name for c in columns if _ID_NAME.search(c.name) and _is_unique(frame, c.name)), None)
    texts = [cell or "" for cell in cells(frame, text, data_file.name)]
    values = [cell if cell and not cell.isspace() else None for cell in cells(frame, label, data_file.name)]
    labels = tuple(sorted({value for value in values if value is not None}))
    if len(labels) < 2:
        raise DataError(f"{data_file.name}: column {label!r} holds {len(labels)} label; a classifier needs two")
    mean_tokens = sum(map(len, texts)) / len(texts) / CHARS_PER_TOKEN
    missing = values.count(None)
    notes = [f"{missing} rows have no label; the data gate will name them"] if missing else []
    source = os.path.relpath(data_file.resolve(), task.parent.resolve())
    estimate = estimate_minutes(len(texts), mean_tokens, matrix_speed())
    write_text(task, _task_text(name, Path(source).as_posix(), text, label, row_id, labels))
    write_text(recipe, _recipe_text(name, len(texts), mean_tokens, estimate))
    return Starter(task, recipe, text, label, row_id, len(texts), labels, tuple(notes))


def _file_name(data_file: Path) -> str:
    stem = data_file.name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:60] or "task"


def _look(frame: pl.DataFrame) -> list[_Column]:
    found = []
    head = frame.head(LOOK_ROWS)
    for column in frame.columns:
        try:
            filled = [cell for cell in cells(head, column) if cell]
        except DataError:
            continue  # lists and objects are neither text nor label
        mean = sum(map(len, filled)) / len(filled) if filled else 0.0
        found.append(_Column(column, len(set(filled)), len(filled), mean, frame.schema[column] == pl.String))
    return found


def _guess_text(columns: Sequence[_Column], name: str, label: str | None) -> str:
    """The column of the longest strings; among long ones, one whose name says text comes first."""
    candidates = [c for c in columns if c.is_text and c.name != label and not _ID_NAME.search(c.name)]
    long = [c for c in candidates if c.mean_chars >= MIN_TEXT_CHARS and 2 * c.distinct > c.filled]
    if not long:
        # Texts of very short answers are still texts where the name says so.
        long = [c for c in candidates if _named(c.name, TEXT_NAMES)]
    if not long:
        shown = ", ".join(f"{c.name} ({c.mean_chars:.0f} characters on average)" for c in columns)
        raise DataError(f"{name}: no column looks like text: {shown}; say which one it is (text)")
    longest = max(c.mean_chars for c in long)
    return max(long, key=lambda c: (_named(c.name, TEXT_NAMES) and 3 * c.mean_chars >= longest, c.mean_chars)).name


def _guess_label(columns: Sequence[_Column], name: str, text: str) -> str:
    """A column of few, short, repeated values; one whose name says label comes first, then the fewest values."""
    candidates = [
        c
        for c in columns
        if c.name != text and 2 <= c.distinct <= MAX_LABELS and 2 * c.distinct <= c.filled and c.mean_chars <= 60
    ]
    if not candidates:
        shown = ", ".join(f"{c.name} ({c.distinct} values)" for c in columns if c.name != text) or "none"
        raise DataError(
            f"{name}: no column looks like a label (2 to {MAX_LABELS} short values, each used again); "
            f"columns besides the text: {shown}; say which one it is (label)"
        )
    named = [c for c in candidates if _named(c.name, LABEL_NAMES)]
    if not named and len(candidates) > 1:
        shown = ", ".join(f"{c.name} ({c.distinct} values)" for c in candidates)
        raise DataError(f"{name}: several columns could be the label: {shown}; say which one it is (label)")
    return min(named or candidates, key=lambda c: (_rank(c.name, LABEL_NAMES), c.distinct)).name


def _named(column: str, names: Sequence[str]) -> bool:
    return _rank(column, names) < len(names)


def _rank(column: str, names: Sequence[str]) -> int:
    """Position of the first name that is a word of the column's name; their number if none is."""
    words = set(re.split(r"[\W_]+", column.lower()))
    return next((i for i, name in enumerate(names) if name in words or f"{name}s" in words), len(names))


def _is_unique(frame: pl.DataFrame, column: str) -> bool:
    series = frame[column]
    return series.null_count() == 0 and series.n_unique() == len(series) and not (series.cast(pl.String) == "").any()


def matrix_speed(size: int = 1024, repeats: int = 3) -> float:
    """Floating-point operations a second of this machine: the best of a few float32 matrix products."""
    matrix = np.ones((size, size), dtype=np.float32)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        _ = matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


@dataclass(frozen=True)
class _Work:
    """What one pass costs: parameters that work on every token, operations for each of them, passes over train."""

    method: str
    model: str | None
    parameters: float
    operations: float
    epochs: float


# Parameters without the embedding table. A forward pass costs 2 operations each, a backward pass through frozen
# weights 2 more, one that also gives weight gradients 4 more.
_WORK = (
    _Work("majority", None, 0, 0, 0),
    _Work("tfidf", None, 0, 0, 0),
    _Work("embedding", "minilm-l6", 10.6e6, 2, 1),
    _Work("zero_shot", "smollm2-135m", 106.2e6, 2, 0),
    _Work("full", "minilm-l6", 10.6e6, 6, 3),
    _Work("lora", "smollm2-135m", 106.2e6, 4, 1.5),
)


def estimate_minutes(rows: int, mean_tokens: float, operations_per_second: float) -> dict[str, float]:
    """Minutes that each method may take: training on 70% of the rows, prediction on 30%.

    Operations are counted as parameters × tokens (Kaplan et al. 2020, section 2.1) and run at `EFFICIENCY` of the
    machine's matrix products. Hardware with bfloat16 units is faster; the first run also converts a model.
    """
    tokens = min(mean_tokens + 8, 256) * rows
    found = {}
    for work in _WORK:
        training = 0.7 * work.operations * work.epochs
        prediction = 0.3 * 2
        operations = work.parameters * tokens * (training + prediction)
        found[work.method] = (operations / (EFFICIENCY * operations_per_second) + 10 + rows / 2_000) / 60
    return found


def _shown(minutes: float) -> str:
    if minutes < 1:
        return "under a minute"
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"


def _yaml(value: object) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def _task_text(name: str, source: str, text: str, label: str, row_id: str | None, labels: Sequence[str]) -> str:
    listed = "\n".join(f"  {_yaml(value)}: {{}}" for value in labels)
    id_line = f"id: {_yaml(row_id)}" if row_id else "# id: column    # a column of unique row ids, if there is one"
    return f"""\
# The task: what is decided, and where the rows are. Every key is checked; a typo gets an error with the nearest name.
name: {_yaml(name)}
version: 1                # raise it when the meaning of a label changes

text: {_yaml(text)}       # or a list of columns: [title, body]
label: {_yaml(label)}
{id_line}
metadata: []              # columns kept for slices in the report: [shop, year]

# The closed set: a classifier answers with one of these or abstains. Methods that prompt a model read better with a
# line that says what a label means:   {_yaml(labels[0])}: what belongs here, in one line
labels:
{listed}

# instruction: Decide …   # what a prompted model is told; default: made from the labels

data:
  train: {_yaml(source)}  # relative to this file
  # validation: …         # own files, if there are any; otherwise rows are split off, once, and kept
  # test: …
  split: {{validation: 0.1, test: 0.2, stratify: true}}   # also group: column (rows of one group stay together)
  split_seed: 0           # of the split alone; the seeds of runs never move it
"""


def _recipe_text(name: str, rows: int, mean_tokens: float, minutes: dict[str, float]) -> str:
    methods = []
    for work in _WORK:
        methods.append(f"  - kind: {work.method:<18}# {_shown(minutes[work.method])}")
        methods += [f"    model: {work.model}"] if work.model else []
    listed = "\n".join(methods)
    return f"""\
# The recipe: task + methods × models × seeds. Run it:      adjudge run recipes/{name}.yaml
# Change a value for one run:                               --set method.learning_rate=1e-4
# Options of a method:                                      adjudge methods
#
# Times are estimates for this machine, from {rows:,} rows of about {mean_tokens:.0f} tokens and a short probe of its
# float32 matrix speed, to within a factor of three; with bfloat16 units it is faster.
# All together: {_shown(sum(minutes.values()))}.
name: {_yaml(name)}
task: ../tasks/{name}.yaml

methods:
{listed}

seeds: [0]                # [0, 1, 2] runs every method three times and shows the spread
budget: {{}}                # max_train_seconds: 600, max_train_rows: 5000
accept: []                # codes of data errors that you accept knowingly, as `adjudge check` names them
store_texts: true         # false leaves the texts out of the run folders
"""
