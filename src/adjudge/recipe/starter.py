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
from pydantic import TypeAdapter, ValidationError

from adjudge.core.atomic import write_text
from adjudge.core.config import parse_scalar
from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import Name, Source
from adjudge.core.types import Split
from adjudge.data.checks.corpus import build_corpus
from adjudge.data.label_columns import LabelColumns, listed_labels, marked_columns, read_label_columns
from adjudge.data.readers import read_table
from adjudge.data.rows import cells

MAX_LABELS = 60
MAX_LABEL_CHARS = 60
MAX_KEY_CHARS = 100
"""Longer keys are written behind a question mark: YAML finds the colon of a short one only."""
LOOK_ROWS = 20_000
MIN_TEXT_CHARS = 12.0
CHARS_PER_TOKEN = 4.0
EFFICIENCY = 0.3
"""Share of the speed of a large matrix product that training small models reaches; the rest is attention, memory."""

TEXT_NAMES = ("text", "review", "body", "content", "message", "comment", "tweet", "sentence", "question", "title")
LABEL_NAMES = ("label", "class", "category", "sentiment", "target", "rating", "stars", "intent", "topic", "emotion")
_ID_NAME = re.compile(r"(^|[_\W])(?i:id|uuid|key)$|[a-z](ID|Id|UUID|Uuid|Key)$")


@dataclass(frozen=True)
class Starter:
    """What was found and written.

    Attributes:
        task: the task file.
        recipe: the recipe file.
        text: the text column.
        label: the label column, or all of them.
        id: the row id column, or None.
        rows: rows of the data file.
        labels: the labels, sorted.
        minutes: that each method may take on this machine.
        notes: what the user should know, one sentence each.
    """

    task: Path
    recipe: Path
    text: str
    label: str
    id: str | None
    rows: int
    labels: tuple[str, ...]
    minutes: dict[str, float]
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
    label: str | Sequence[str] | None = None,
) -> Starter:
    """Write ``tasks/<name>.yaml`` and ``recipes/<name>.yaml`` for a data file.

    Text is the column of the longest strings, the label one of few distinct short values, a row id one that is
    unique and named like one. Rows without text or label stop a run; where the file has some, the task accepts
    them, so that it runs unedited, and a note says so.

    Args:
        data_file: any file that a task can name.
        folder: where ``tasks/`` and ``recipes/`` go.
        name: of the task and the recipe; default: the file's name.
        text: text column; default: found.
        label: label column, or a column of 0 and 1 for each label; default: found.

    Raises:
        DataError: the file cannot be read, or no text or label column can be told.
        UsageError: one of the files is there already, or a name that cannot be used. Nothing is written then.
    """
    table = read_table(Source(path=str(data_file)))
    frame = table.frame
    name = usable_name(name, data_file)
    task, recipe = folder / "tasks" / f"{name}.yaml", folder / "recipes" / f"{name}.yaml"
    existing = [file for file in (task, recipe) if file.exists()]
    if existing:
        raise UsageError(
            f"{' and '.join(map(str, existing))}: there already, and not overwritten; "
            "move them away, or choose another name"
        )
    columns = _look(frame)
    text = text or _guess_text(columns, data_file.name, label)
    others: list[str | tuple[str, ...]] = []
    if label is None:
        label, *others = _guess_labels(columns, data_file.name, text, frame)
    if text in (label if not isinstance(label, str) else [label]):
        raise UsageError(f"{data_file.name}: column {text!r} cannot be both the text and the label")
    row_id = next((c.name for c in columns if _ID_NAME.search(c.name) and _is_unique(frame, c.name)), None)
    texts = [cell or "" for cell in cells(frame, text, data_file.name)]
    chosen = read_label_columns(frame, label, data_file.name)
    labels = chosen.labels
    if len(labels) < 2:
        raise DataError(f"{data_file.name}: column {chosen.name!r} holds {len(labels)} label; a classifier needs two")
    flaws = _flaws(texts, chosen.cells)
    source = Path(os.path.relpath(data_file.resolve(), task.parent.resolve())).as_posix()
    mean_tokens = sum(map(guess_tokens, texts)) / len(texts)
    minutes = estimate_minutes(len(texts), mean_tokens, matrix_speed())
    write_text(task, _task_text(name, source, _Columns(text, chosen, row_id), flaws))
    write_text(recipe, recipe_text(name, len(texts), mean_tokens, minutes))
    notes = [*chosen.notes, *_flaw_notes(flaws), *_other_notes(others)]
    return Starter(task, recipe, text, chosen.name, row_id, len(texts), labels, minutes, tuple(notes))


def usable_name(name: str | None, data_file: Path) -> str:
    """The name, if tasks and folders may be called so, or one made from the file's.

    Raises:
        UsageError: it cannot be used.
    """
    if name is None:
        return re.sub(r"[^A-Za-z0-9_-]+", "-", data_file.name.split(".")[0]).strip("-_")[:60] or "task"
    try:
        return str(TypeAdapter(Name).validate_python(name))
    except ValidationError as error:
        raise UsageError(
            f"name {name!r}: cannot be used; allowed: letters, digits, dots, dashes and underscores, at most 80, "
            "beginning with a letter or digit"
        ) from error


def _flaws(texts: Sequence[str], labels: Sequence[str | None]) -> dict[str, int]:
    """Rows of the errors that the data gate will find in a file that is split here, by code."""
    corpus = build_corpus({"train": Split("train", texts, labels, row_ids=[])})
    found = {"empty_text": int(corpus.empty.sum()), "missing_label": int((corpus.label < 0).sum())}
    return {code: rows for code, rows in found.items() if rows}


def _flaw_notes(flaws: dict[str, int]) -> list[str]:
    words = {"empty_text": "no text", "missing_label": "no label"}
    return [
        f"{rows:,} {'row has' if rows == 1 else 'rows have'} {words[code]}; the task accepts that ({code}), so that "
        "it runs; better repair the data and take the code out of `accept`"
        for code, rows in flaws.items()
    ]


def _other_notes(others: Sequence[str | tuple[str, ...]]) -> list[str]:
    return [f"could be the label too: {', '.join(map(repr, others))}; choose with --label"] if others else []


def _look(frame: pl.DataFrame) -> list[_Column]:
    found = []
    head = frame.head(LOOK_ROWS)
    for column in frame.columns:
        listed = listed_labels(head, column)
        filled = [cell for cell in cells(head, column) if cell] if listed is None else listed
        mean = sum(map(len, filled)) / len(filled) if filled else 0.0
        is_text = listed is None and frame.schema[column] == pl.String
        found.append(_Column(column, len(set(filled)), len(filled), mean, is_text))
    return found


def _guess_text(columns: Sequence[_Column], name: str, label: str | Sequence[str] | None) -> str:
    """The column of the longest strings; among long ones, one whose name says text comes first."""
    labels = [label] if isinstance(label, str) else label or ()
    candidates = [c for c in columns if c.is_text and c.name not in labels and not _ID_NAME.search(c.name)]
    long = [c for c in candidates if c.mean_chars >= MIN_TEXT_CHARS and 2 * c.distinct > c.filled]
    if not long:
        # Texts of very short answers are still texts where the name says so.
        long = [c for c in candidates if _named(c.name, TEXT_NAMES)]
    if not long:
        shown = ", ".join(f"{c.name} ({c.mean_chars:.0f} characters on average)" for c in columns)
        raise DataError(f"{name}: no column looks like text: {shown}; say which one it is (text)")
    longest = max(c.mean_chars for c in long)
    return max(long, key=lambda c: (_named(c.name, TEXT_NAMES) and 3 * c.mean_chars >= longest, c.mean_chars)).name


def _guess_labels(
    columns: Sequence[_Column], name: str, text: str, frame: pl.DataFrame
) -> list[str | tuple[str, ...]]:
    """Columns of few, short, repeated values, the likeliest first; or columns of 0 and 1 together.

    One whose name says label comes first, then the fewest values. Many or long values need such a name.
    """
    repeated = [c for c in columns if c.name != text and c.distinct >= 2 and 2 * c.distinct <= c.filled]
    candidates = [c for c in repeated if c.distinct <= MAX_LABELS and c.mean_chars <= MAX_LABEL_CHARS]
    named = [c for c in candidates or repeated if _named(c.name, LABEL_NAMES)]
    if not named and not candidates:
        shown = ", ".join(f"{c.name} ({c.distinct} values)" for c in columns if c.name != text) or "none"
        raise DataError(
            f"{name}: no column looks like a label (2 to {MAX_LABELS} short values, each used again); "
            f"columns besides the text: {shown}; say which one it is (label)"
        )
    if not named and (marked := marked_columns(frame, [c.name for c in candidates])):
        return [marked]
    if not named and len(candidates) > 1:
        shown = ", ".join(f"{c.name} ({c.distinct} values)" for c in candidates)
        raise DataError(f"{name}: several columns could be the label: {shown}; say which one it is (label)")
    first = min(named or candidates, key=lambda c: (_rank(c.name, LABEL_NAMES), c.distinct))
    return [first.name, *(c.name for c in candidates if c is not first)]


def _named(column: str, names: Sequence[str]) -> bool:
    return _rank(column, names) < len(names)


def _rank(column: str, names: Sequence[str]) -> int:
    """Position of the first name that is a word of the column's name; their number if none is."""
    words = set(re.split(r"[\W_]+", column.lower()))
    return next((i for i, name in enumerate(names) if name in words or f"{name}s" in words), len(names))


def _is_unique(frame: pl.DataFrame, column: str) -> bool:
    series = frame[column]
    return series.null_count() == 0 and series.n_unique() == len(series) and not (series.cast(pl.String) == "").any()


def guess_tokens(text: str) -> float:
    """Tokens of a text, roughly: four ASCII characters make one, and so does any other character.

    Vocabularies of the small models here were made from English; other scripts fall apart into their characters.
    """
    ascii_characters = len(text.encode("ascii", "ignore"))
    return ascii_characters / CHARS_PER_TOKEN + len(text) - ascii_characters


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


def shown_minutes(minutes: float) -> str:
    """Minutes in words: ``under a minute``, ``about 12 min``, ``about 2.5 h``."""
    if minutes < 1:
        return "under a minute"
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"


def _yaml(value: str) -> str:
    """A text on one line of YAML."""
    plain, quoted = (
        yaml.safe_dump(value, default_style=style, allow_unicode=True, width=10**9)
        .removesuffix("\n")
        .removesuffix("\n...")
        for style in (None, '"')
    )
    return plain if plain.isprintable() and parse_scalar(plain) == value else quoted


@dataclass(frozen=True)
class _Columns:
    """The columns of a task."""

    text: str
    labels: LabelColumns
    id: str | None


def _task_text(name: str, source: str, columns: _Columns, flaws: dict[str, int]) -> str:
    labels = columns.labels.labels
    keys = map(_yaml, labels)
    listed = "\n".join(f"  {key}: {{}}" if len(key) <= MAX_KEY_CHARS else f"  ? {key}\n  : {{}}" for key in keys)
    text_line = f"text: {_yaml(columns.text)}"
    id_line = "# id: column" if columns.id is None else f"id: {_yaml(columns.id)}"
    train_line = f"train: {_yaml(source)}"
    accept_line = f"accept: [{', '.join(flaws)}]"
    found = f" (rows found: {', '.join(f'{code} {rows:,}' for code, rows in flaws.items())})" if flaws else ""
    return f"""\
# The task: what is decided, and where the rows are. Every key is checked; a typo gets an error with the nearest name.
name: {_yaml(name)}
version: 1                # raise it when the meaning of a label changes

{text_line:<25} # or a list of columns: [title, body]
{columns.labels.to_yaml()}
{id_line:<25} # a column of unique row ids; default: a hash of the content
metadata: []              # columns kept for slices in the report: [shop, year]

# The closed set: a classifier answers with one of these or abstains. Methods that prompt a model read better with a
# line that says what a label means:   {_yaml(labels[0])[:60]}: what belongs here, in one line
labels:
{listed}

# instruction: Decide …   # what a prompted model is told; default: made from the labels

data:
  {train_line:<23} # relative to this file
  # validation: …         # own files, if there are any; otherwise rows are split off, once, and kept
  # test: …
  split: {{validation: 0.1, test: 0.2, stratify: true}}   # also group: column (rows of one group stay together)
  split_seed: 0           # of the split alone; the seeds of runs never move it
  {accept_line:<23} # codes of data errors that you accept knowingly, as `adjudge check` names them{found}
"""


def recipe_text(name: str, rows: int, mean_tokens: float, minutes: dict[str, float]) -> str:
    """A recipe of all six methods for ``../tasks/<name>.yaml``, with comments that explain it."""
    methods = []
    for work in _WORK:
        methods.append(f"  - kind: {work.method:<18}# {shown_minutes(minutes[work.method])}")
        methods += [f"    model: {work.model}"] if work.model else []
    listed = "\n".join(methods)
    return f"""\
# The recipe: task + methods × models × seeds. Run it:      adjudge run recipes/{name}.yaml
# Change a value for one run:                               --set method.learning_rate=1e-4
# Options of a method:                                      adjudge methods
#
# Times are estimates for this machine, from {rows:,} rows of about {mean_tokens:.0f} tokens and a short probe of its
# float32 matrix speed, to within a factor of three; with bfloat16 units it is faster.
# All together: {shown_minutes(sum(minutes.values()))}.
name: {_yaml(name)}
task: ../tasks/{name}.yaml

methods:
{listed}

seeds: [0]                # one speaks of a run; [0, 1, 2] speak of a method and show the spread
budget: {{}}                # max_train_seconds: 600, max_train_rows: 5000
store_texts: true         # false leaves the texts out of the run folders
"""
