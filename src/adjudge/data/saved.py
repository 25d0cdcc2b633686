"""The file in which made splits are kept: row ids and a hash for each split, by the plan that made them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adjudge.core.atomic import read_json, write_json
from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_json
from adjudge.core.task import Data, Task
from adjudge.core.types import Split
from adjudge.data.assign import Pool, ranks

FORMAT = 1


def plan_key(task: Task, data: Data, makes: Sequence[str]) -> str:
    """What a made split depends on besides its rows; another seed or plan is another entry of the file."""
    source = data.train.model_dump(mode="json")
    source["path"] = source["path"].rsplit("/", 1)[-1]
    return hash_json(
        {
            "seed": data.split_seed,
            "plan": data.split.model_dump(mode="json"),
            "sample": data.sample,
            "split_column": data.split_column,
            "makes": list(makes),
            "source": source,
            "columns": [task.text, task.text_template, task.label, task.id],
        }
    )[:16]


@dataclass(frozen=True)
class SavedSplits:
    """One entry of a split file.

    Attributes:
        path: the file.
        key: the plan's key.
        known: split name → ``{"hash", "row_ids"}``, and ``left_out`` → row ids; empty before the first use.
    """

    path: Path
    key: str
    known: dict[str, Any]

    @classmethod
    def open(cls, path: Path, key: str) -> SavedSplits:
        """Read the entry of a plan.

        Raises:
            DataError: the file is there and is no split file.
        """
        return cls(path, key, _entries(path).get(key, {}))

    def write(self, given: dict[str, Split], splits: dict[str, Split], hashes: dict[str, str]) -> None:
        """Add the entry: the row ids of every split, and of the rows that no split took."""
        taken = {row_id for split in splits.values() for row_id in split.row_ids}
        entry: dict[str, Any] = {
            name: {"hash": hashes[name], "rows": len(split), "row_ids": list(split.row_ids)}
            for name, split in splits.items()
        }
        entry["left_out"] = [row_id for row_id in given["train"].row_ids if row_id not in taken]
        write_json(self.path, {"format": FORMAT, "splits": {**_entries(self.path), self.key: entry}})

    def apply(
        self, given: dict[str, Split], pool: Pool, data: Data, makes: Sequence[str]
    ) -> tuple[dict[str, Split], int]:
        """Divide the rows as they were divided before, and place the new ones.

        A new row follows the known rows of its unit, else its unit's rank. It stays out of a split whose number
        of rows is fixed (``per_class``, ``sample``, a size in rows), then it is train's or left out.

        Returns:
            The splits, and how many saved rows are no longer in the data.
        """
        fixed = {"train"} if data.split.per_class else set()
        fixed |= set(data.sample)
        roles = {row_id: name for name in ("train", *makes) for row_id in self.known[name]["row_ids"]}
        left_out = set(self.known["left_out"])
        of_unit = {
            unit: roles[row_id] for row_id, unit in zip(pool.rows.row_ids, pool.units, strict=True) if row_id in roles
        }
        places: list[str | None] = []
        for row_id, unit in zip(pool.rows.row_ids, pool.units, strict=True):
            place = roles.get(row_id)
            if place is None and row_id not in left_out:
                place = of_unit.get(unit) or self._place(unit, data, makes)
                place = None if place in fixed else place
            places.append(place)
        result: dict[str, Split] = {}
        for name in ("train", "validation", "test"):
            if name in ("train", *makes):
                result[name] = pool.rows.take([i for i, place in enumerate(places) if place == name], name)
            elif name in given:
                result[name] = self._kept(given[name]) if name in fixed else given[name]
        kept = {"train", *makes} | fixed
        gone = sum(len(set(self.known[name]["row_ids"]).difference(result[name].row_ids)) for name in kept)
        return result, gone

    def _kept(self, split: Split) -> Split:
        wanted = set(self.known[split.name]["row_ids"])
        return split.take([i for i, row_id in enumerate(split.row_ids) if row_id in wanted])

    def _place(self, unit: str, data: Data, makes: Sequence[str]) -> str:
        """Where a unit that was not there belongs: by rank into the plan's shares; fixed sizes take no more."""
        at = ranks(data.split_seed, [unit])[0]
        for name in ("test", "validation"):
            share = getattr(data.split, name) if name in makes else 0
            if 0 < share < 1:
                if at < share:
                    return name
                at -= share
        return "train"


def _entries(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = read_json(path)
        entries = value["splits"] if value["format"] == FORMAT else None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a readable split file ({error}); restore or delete it") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path}: a split file of another format; delete it to split anew")
    return entries
