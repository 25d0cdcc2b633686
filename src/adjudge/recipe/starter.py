"""Starting files: look at a data file, write a task and a recipe that run unedited, with comments that explain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from adjudge.core.atomic import write_text
from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import Name, Source
from adjudge.core.types import Split
from adjudge.data.checks.corpus import build_corpus
from adjudge.data.files.headers import LABEL_NAMES, TEXT_NAMES
from adjudge.data.label_columns import listed_labels, marked_columns, read_label_columns
from adjudge.data.rows import cells
from adjudge.recipe.class_names import named_classes, names_files
from adjudge.recipe.minutes import estimate_minutes, guess_tokens, matrix_speed
from adjudge.recipe.recognise import Recognised, recognise
from adjudge.recipe.starting_files import Start, recipe_text, task_text

MAX_LABELS = 60
MAX_LABEL_CHARS = 60
LOOK_ROWS = 20_000
MIN_TEXT_CHARS = 12.0
_ID_NAME = re.compile(r"(^|[_\W])(?i:id|uuid|key)$|[a-z](ID|Id|UUID|Uuid|Key)$")


@dataclass(frozen=True)
class Starter:
    """What was found and written.

    Attributes:
        task: the task file.
        recipe: the recipe file.
        text: the text column, or several.
        label: the label column.
        id: the row id column, or None.
        rows: rows of the data file.
        labels: the labels, sorted by what the data write.
        several: whether a text may have several of them.
        minutes: that each method of the recipe may take on this machine.
        notes: what the user should know, one sentence each.
    """

    task: Path
    recipe: Path
    text: str | tuple[str, ...]
    label: str
    id: str | None
    rows: int
    labels: tuple[str, ...]
    several: bool
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
    data_file: Path | Source,
    *,
    folder: Path = Path(),
    name: str | None = None,
    text: str | Sequence[str] = (),
    label: str | Sequence[str] | None = None,
    names: Path | None = None,
) -> Starter:
    """Write ``tasks/<name>.yaml`` and ``recipes/<name>.yaml`` for a data file.

    Text is the column of the longest strings, the label one of few distinct short values, a row id one that is
    unique and named like one. What is unusual about the file is said in the task and in a note; rows without text or
    label are accepted there, so that it runs unedited.

    Args:
        data_file: any file or folder that a task can name, or a source with what is to be said about it.
        folder: where ``tasks/`` and ``recipes/`` go.
        name: of the task and the recipe; default: the file's name.
        text: text column, or several; default: found.
        label: label column, or a column of 0 and 1 for each label; default: found.
        names: file with the names of the classes, where the data write numbers.

    Raises:
        DataError: the file cannot be read, no text or label column can be told, or labels without a name.
        UsageError: one of the files is there already, or a name that cannot be used. Nothing is written then.
    """
    given = data_file if isinstance(data_file, Source) else Source(path=str(data_file))
    path = Path(given.path)
    seen = recognise(given)
    frame, file = seen.frame, path.name
    name = usable_name(name, path)
    task, recipe = _places(folder, name)
    columns = _look(frame)
    texts = (text,) if isinstance(text, str) else tuple(text) or (_guess_text(columns, file, label),)
    others: list[str | tuple[str, ...]] = []
    if label is None:
        label, *others = _guess_labels(columns, file, texts[0], frame)
    both = sorted(set(texts) & set([label] if isinstance(label, str) else label))
    if both:
        raise UsageError(f"{file}: column {both[0]!r} cannot be both the text and the label")
    row_id = next((c.name for c in columns if _ID_NAME.search(c.name) and _is_unique(frame, c.name)), None)
    joined = _joined([cells(frame, column, file) for column in texts])
    chosen = read_label_columns(frame, label, file)
    written = _sorted(chosen.labels)
    if len(written) < 2:
        raise DataError(f"{file}: column {chosen.name!r} holds {len(written)} label; a classifier needs two")
    labels, notes = named_classes(written, names) if names else (dict(zip(written, written, strict=True)), [])
    notes = [*seen.notes, *notes, *chosen.notes, *_names_notes(written, [] if names else names_files(path))]
    start = Start(name, texts, chosen, row_id, _sources(seen, task), labels, _flaws(joined, chosen.cells))
    minutes = _write(task, recipe, start, joined)
    notes += [*_flaw_notes(start.flaws), *_other_notes(others), *_text_notes(columns, texts, chosen.name)]
    shown = texts if len(texts) > 1 else texts[0]
    size, names_shown = len(joined), tuple(labels.values())
    return Starter(
        task, recipe, shown, chosen.name, row_id, size, names_shown, start.several, minutes, tuple(notes)
    )  # fmt: skip


def _write(task: Path, recipe: Path, start: Start, texts: Sequence[str]) -> dict[str, float]:
    """Write both files; the minutes that each method may take."""
    mean_tokens = sum(map(guess_tokens, texts)) / len(texts)
    minutes = estimate_minutes(len(texts), mean_tokens, matrix_speed())
    write_text(task, task_text(start))
    write_text(recipe, recipe_text(start.name, len(texts), mean_tokens, minutes, several=start.several))
    return minutes


def _places(folder: Path, name: str) -> tuple[Path, Path]:
    """The task and the recipe file.

    Raises:
        UsageError: one of them is there.
    """
    task, recipe = folder / "tasks" / f"{name}.yaml", folder / "recipes" / f"{name}.yaml"
    existing = [file for file in (task, recipe) if file.exists()]
    if existing:
        raise UsageError(
            f"{' and '.join(map(str, existing))}: there already, and not overwritten; "
            "move them away, or choose another name"
        )
    return task, recipe


def _sources(seen: Recognised, task: Path) -> dict[str, dict[str, Any]]:
    """Role -> the options of its source that are not as usual, paths relative to the task's folder."""

    def relative(path: str) -> str:
        return path if "://" in path else Path(os.path.relpath(Path(path).resolve(), task.parent.resolve())).as_posix()

    usual = Source(path=seen.source.path).model_dump()
    given = seen.source.model_dump()
    said = {key: value for key, value in given.items() if repr(usual.get(key)) != repr(value)}  # 1 is not true here
    said = {key: relative(value) if key == "label_file" else value for key, value in said.items() if value is not None}
    options = {"path": relative(seen.source.path), **said}
    if not seen.splits:
        return {"train": options}
    roles = [role for role in ("train", "validation", "test") if role in seen.splits]
    return {role: {**options, "split": seen.splits[role]} for role in roles}


def _joined(columns: Sequence[Sequence[str | None]]) -> list[str]:
    return ["\n".join(cell for cell in row if cell) for row in zip(*columns, strict=True)]


def _sorted(labels: Iterable[str]) -> list[str]:
    """Labels in order; numbers by their size."""
    known = sorted(labels)
    return sorted(known, key=int) if all(label.isdecimal() for label in known) else known


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


def _flaw_notes(flaws: Mapping[str, int]) -> list[str]:
    words = {"empty_text": "no text", "missing_label": "no label"}
    return [
        f"{rows:,} {'row has' if rows == 1 else 'rows have'} {words[code]}; the task accepts that ({code}), so that "
        "it runs; better repair the data and take the code out of `accept`"
        for code, rows in flaws.items()
    ]


def _other_notes(others: Sequence[str | tuple[str, ...]]) -> list[str]:
    return [f"could be the label too: {', '.join(map(repr, others))}; choose with --label"] if others else []


def _names_notes(labels: Sequence[str], beside: Sequence[Path]) -> list[str]:
    if not beside or not all(value.isdigit() for value in labels):
        return []
    return [f"the labels are numbers; {beside[0].name} may hold their names: --names {beside[0]}"]


def _text_notes(columns: Sequence[_Column], texts: Sequence[str], label: str) -> list[str]:
    """Other columns that look like text, where the file says of none what it is."""
    other = [
        c.name
        for c in columns
        if c.name.startswith("column_") and c.name not in texts and c.name != label
        if c.is_text and c.mean_chars >= MIN_TEXT_CHARS and 2 * c.distinct > c.filled
    ]
    if not other or len(texts) > 1:
        return []
    return [
        f"{', '.join(map(repr, other))} could be text too; several are joined by --text {other[0]} --text {texts[0]}"
    ]


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
