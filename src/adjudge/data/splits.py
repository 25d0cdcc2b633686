"""Train, validation and test: given, named by a column, or made once and then kept.

A made split follows the content: rows of one normalised text or of one group make a unit, with all that these
connect, and a unit's place comes from a seeded hash. So equal texts never fall into two splits, and the order of the
file does not matter. What was made is saved as row ids; rows that are appended later never move an old row.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adjudge.core.errors import AdjudgeWarning, ConfigError, DataError
from adjudge.core.hashing import hash_rows, hash_text
from adjudge.core.problem import SINGLE, Problem
from adjudge.core.task import Data, Task
from adjudge.core.types import Split
from adjudge.data.assign import Pool, assign, draw, rarest_labels
from adjudge.data.files.json_shapes import SPLITS
from adjudge.data.readers import Table, read_table
from adjudge.data.rows import build_split, cells, content_keys
from adjudge.data.saved import SavedSplits, plan_key
from adjudge.data.units import GROUP

NAMES = ("train", "validation", "test")
SHOWN = 10


def load_splits(
    task: Task, data: Data, *, base: Path | None = None, split_file: Path | None = None
) -> dict[str, Split]:
    """Read a task's data as splits.

    Splits that the data does not bring are made from train by ``data.split`` and ``data.split_seed``; then
    ``per_class`` and ``data.sample`` draw from them.

    Args:
        task: the columns.
        data: the sources and the plan.
        base: folder that relative paths are resolved against.
        split_file: JSON file in which a made split is kept: written at first use, reused afterwards. Old rows
            keep their split; new ones join their group and text, are assigned by their hash, or are left out where
            the plan fixes a number or where they would connect two splits. Then they are old ones.

    Returns:
        ``train``, and ``validation`` and ``test`` where the data brings them or the plan's share is above 0.

    Raises:
        DataError: whatever is wrong with the files, their columns or the plan's numbers, all at once.
        ConfigError: a split that is given twice.
    """
    _refuse_per_class(task, data)
    tables = _read(data, base)
    given, pool = _given(task, data, tables)
    makes = [name for name in ("validation", "test") if name not in given and getattr(data.split, name) > 0]
    draws = bool(data.sample or data.split.per_class)
    if not makes and not draws:
        return {name: given[name] for name in NAMES if name in given}
    saved = SavedSplits.open(split_file, plan_key(task, data, makes)) if split_file else None
    if saved is not None and saved.known:
        splits, losses = saved.apply(given, pool, data, makes)
        for loss in losses:
            warnings.warn(loss, AdjudgeWarning, stacklevel=2)
    else:
        splits = {**given, **assign(pool, data.split, makes, data.split_seed)}
        splits = draw({name: splits[name] for name in NAMES if name in splits}, data)
    if saved is not None:
        saved.keep(given["train"], splits, split_hash)
    return splits


def _refuse_per_class(task: Task, data: Data) -> None:
    if task.problem.multi and data.split.per_class:
        raise ConfigError(
            "data.split.per_class: a row of a multi-label task counts for several labels, so there is no number of "
            "rows for each; leave it out, or draw rows with `data.sample`"
        )


class _Problems:
    """Gathers the data errors of several steps, so that a user sees all of them at once."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}

    @contextmanager
    def gather(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            self.found.update(dict.fromkeys(error.problems))

    def check(self) -> None:
        if self.found:
            raise DataError(list(self.found))


def _read(data: Data, base: Path | None) -> dict[str, Table]:
    """Every given source."""
    tables: dict[str, Table] = {}
    problems = _Problems()
    for role, source in data.sources.items():
        with problems.gather():
            tables[role] = read_table(source, base=base, role=role)
    problems.check()
    return tables


def _given(task: Task, data: Data, tables: dict[str, Table]) -> tuple[dict[str, Split], Pool]:
    """The splits that the data brings, and the rows of train, from which others are made."""
    splits: dict[str, Split] = {}
    groups: list[str | None] = []
    parts: list[str] = []
    problems = _Problems()
    for role, table in tables.items():
        with problems.gather():
            splits[role] = build_split(task, table.frame, role, table.name)
    frame, name = tables["train"].frame, tables["train"].name
    if data.split.group:
        with problems.gather():
            groups = cells(frame, data.split.group, name)
    if data.split_column:
        with problems.gather():
            parts = _parts(cells(frame, data.split_column, name), data.split_column, name)
    problems.check()
    whole = splits["train"]
    own = task.id is not None  # a content id begins with the content's key
    texts = content_keys(whole.texts) if own else [row_id.rpartition("-")[0] for row_id in whole.row_ids]
    keys = _keys(texts, groups) if groups else [(text,) for text in texts]
    if not parts:
        return splits, _pool(task, whole, keys)
    for part in dict.fromkeys(parts):
        if part != "train" and part in splits:
            raise ConfigError(
                f"data: {part} is given twice, by `{part}` ({splits[part].source}) and by the column "
                f"{data.split_column!r} of {name}; remove one of them"
            )
        splits[part] = whole.take([i for i, value in enumerate(parts) if value == part], part)
    if "train" not in parts:
        raise DataError(f"{name}: no row of column {data.split_column!r} says train")
    return splits, _pool(
        task, splits["train"], [key for key, part in zip(keys, parts, strict=True) if part == "train"]
    )


def _keys(texts: Sequence[str], groups: Sequence[str | None]) -> list[tuple[str, ...]]:
    """Group and text of every row. That rows of two groups have no text does not join the groups."""
    nothing = content_keys([""])[0]
    return [
        (f"{GROUP}{group}", *([text] if text != nothing else [])) if group else (text,)
        for text, group in zip(texts, groups, strict=True)
    ]


def _pool(task: Task, rows: Split, keys: Sequence[tuple[str, ...]]) -> Pool:
    return Pool(rows, keys, rarest_labels(rows.labels, task.problem) if task.problem.multi else None)


def _parts(values: Sequence[str | None], column: str, source: str) -> list[str]:
    parts = [SPLITS.get((value or "").strip().lower()) for value in values]
    wrong: dict[str, list[int]] = {}
    for row, (value, part) in enumerate(zip(values, parts, strict=True), 1):
        if part is None:
            wrong.setdefault(value or "", []).append(row)
    if wrong:
        shown = "; ".join(f"{value!r} in rows {_some(rows)}" for value, rows in list(wrong.items())[:SHOWN])
        raise DataError(
            f"{source}: column {column!r} names no split: {shown}{'; …' if len(wrong) > SHOWN else ''}; "
            "allowed: train, validation (valid, val, dev), test"
        )
    return [part for part in parts if part is not None]


def split_hash(split: Split) -> str:
    """Hexadecimal SHA-256 over a split's row ids, text hashes and labels, whatever the order of its rows."""
    rows = zip(split.row_ids, split.texts, split.labels, strict=True)
    return hash_rows(
        (row_id, hash_text(text), *([] if label is None else [label])) for row_id, text, label in sorted(rows, key=_id)
    )


def _id(row: tuple[str, str, str | None]) -> str:
    return row[0]


def label_set(task: Task, train: Split) -> tuple[str, ...]:
    """The closed set of labels: the task's in their order, else train's sorted."""
    if task.labels is not None:
        return tuple(task.labels)
    return tuple(sorted({label for cell in train.labels if cell is not None for label in task.problem.split(cell)}))


def validate_labels(splits: dict[str, Split], labels: Sequence[str], problem: Problem = SINGLE) -> None:
    """Check that there is something to learn and that every split keeps to the closed set.

    Missing labels are left to the data gate.

    Raises:
        DataError: train holds fewer than two classes, or splits hold labels outside ``labels``; every unknown
            label is named with its rows. Of a tree: labels that are no leaves.
    """
    problems = [f"{splits['train'].source}: {found}" for found in problem.label_problems(labels)]
    train = splits["train"]
    present = sorted({label for cell in train.labels if cell is not None for label in problem.split(cell)})
    if len(present) < 2:
        found = f"one class only ({present[0]!r})" if present else "no labels at all"
        problems.append(f"{train.source}: train holds {found}; a classifier needs at least two")
    known = frozenset(labels)
    for name, split in splits.items():
        unknown: dict[str, list[int]] = {}
        numbers = split.row_numbers if len(split.row_numbers) else range(1, len(split) + 1)
        for row, cell in zip(numbers, split.labels, strict=True):
            for label in () if cell is None else problem.split(cell):
                if label not in known:
                    unknown.setdefault(label, []).append(row)
        for label, rows in sorted(unknown.items())[:SHOWN]:
            problems.append(
                f"{split.source}: {name} holds the label {label!r} ({len(rows)} rows: {_some(rows)}), which "
                f"is not in the label set; allowed: {', '.join(map(repr, labels))}"
            )
        if len(unknown) > SHOWN:
            problems.append(f"{split.source}: {name} holds {len(unknown) - SHOWN} further labels outside the set")
    if problems:
        raise DataError(problems)


def _some(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
