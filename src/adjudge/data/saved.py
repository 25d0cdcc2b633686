"""The file in which made splits are kept: row ids and a hash for each split, by the plan that made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adjudge.core.atomic import read_json, write_json
from adjudge.core.errors import DataError
from adjudge.core.hashing import hash_json
from adjudge.core.task import Data, Task
from adjudge.core.types import Split
from adjudge.data.assign import Pool, ranks
from adjudge.data.units import Units

FORMAT = 1


def plan_key(task: Task, data: Data, makes: Sequence[str]) -> str:
    """What a made split depends on besides its rows; another seed or plan is another entry of the file."""
    source = data.train.model_dump()
    source["path"] = source["path"].rpartition("/")[2]
    return hash_json(
        {
            "seed": data.split_seed,
            "plan": data.split.model_dump(),
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

    def keep(self, train: Split, splits: dict[str, Split], hash_of: Callable[[Split], str]) -> None:
        """Add the rows that the entry lacks: to their splits, or to those that no split took.

        Args:
            train: the rows from which splits are made.
            splits: what came of them; the hashes are of these.
            hash_of: of a split's content.
        """
        entry = {"left_out": [], **self.known}
        for name, split in splits.items():
            kept = self.known[name]["row_ids"] if name in self.known else []
            row_ids = [*kept, *_lacking(kept, split.row_ids)]
            if row_ids != kept:
                entry[name] = {"hash": hash_of(split), "rows": len(row_ids), "row_ids": row_ids}
        taken = {row_id for split in splits.values() for row_id in split.row_ids}
        left_out = [row_id for row_id in train.row_ids if row_id not in taken]
        entry["left_out"] = [*entry["left_out"], *_lacking(entry["left_out"], left_out)]
        if entry != self.known:
            write_json(self.path, {"format": FORMAT, "splits": {**_entries(self.path), self.key: entry}})

    def apply(
        self, given: dict[str, Split], pool: Pool, data: Data, makes: Sequence[str]
    ) -> tuple[dict[str, Split], list[str]]:
        """Divide the rows as they were divided before, and place the new ones.

        A new row follows the known rows of its group and its text, else its unit's rank; a size in rows takes none by
        rank. One that would connect two splits is left out, and so is one of a split that is drawn (``per_class``,
        ``sample``).

        Returns:
            The splits, and what was lost, in words.
        """
        fixed = {"train"} if data.split.per_class else set()
        fixed |= set(data.sample)
        roles = {row_id: name for name in ("train", *makes) for row_id in self.known[name]["row_ids"]}
        keys = dict(zip(pool.rows.row_ids, pool.keys, strict=True))
        new = [row_id for row_id in keys.keys() - self.known["left_out"] if row_id not in roles]
        placed, connecting = self._placed(new, keys, roles, data, makes) if new else ({}, 0)
        roles |= {row_id: name for row_id, name in placed.items() if name not in fixed}
        losses = []
        if connecting:
            losses.append(
                f"{connecting} new rows are left out: with their text in one split and their group in another, they "
                "would connect the two"
            )
        result: dict[str, Split] = {}
        for name in ("train", "validation", "test"):
            if name in ("train", *makes):
                rows = [i for i, row_id in enumerate(pool.rows.row_ids) if roles.get(row_id) == name]
                result[name] = pool.rows.take(rows, name)
            elif name in given:
                result[name] = self._kept(given[name]) if name in fixed else given[name]
        kept = {"train", *makes} | fixed
        gone = sum(len(set(self.known[name]["row_ids"]).difference(result[name].row_ids)) for name in kept)
        if gone:
            losses.append(f"{gone} rows of the saved split are no longer in the data; the others keep their split")
        return result, losses

    def _placed(
        self,
        new: Sequence[str],
        keys: Mapping[str, Sequence[str]],
        roles: Mapping[str, str],
        data: Data,
        makes: Sequence[str],
    ) -> tuple[dict[str, str], int]:
        """The splits of new rows, and how many get none, as they would connect two."""
        units = Units()
        for row_id, name in roles.items():
            if row_id in keys:
                units.join(keys[row_id], name)
        in_order = [row_id for _, row_id in sorted(zip(ranks(data.split_seed, new), new, strict=True))]
        fitting = [row_id for row_id in in_order if units.join(keys[row_id])]
        placed = {}
        for row_id in fitting:
            key = keys[row_id][0]
            placed[row_id] = units.split(key) or self._by_rank(units.name(key), data, makes)
        return placed, len(new) - len(fitting)

    def _kept(self, split: Split) -> Split:
        wanted = set(self.known[split.name]["row_ids"])
        return split.take([i for i, row_id in enumerate(split.row_ids) if row_id in wanted])

    def _by_rank(self, unit: str, data: Data, makes: Sequence[str]) -> str:
        """Where a unit that was not there belongs: by rank into the plan's shares; fixed sizes take no more."""
        at = ranks(data.split_seed, [unit])[0]
        for name in ("test", "validation"):
            share = getattr(data.split, name)
            if name in makes and share < 1:
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


def _lacking(kept: Sequence[str], row_ids: Sequence[str]) -> list[str]:
    """Those of the row ids that are not kept yet, in order."""
    known = set(kept)
    return [row_id for row_id in row_ids if row_id not in known]
