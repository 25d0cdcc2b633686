"""How rows come into splits: units in the order of a seeded hash, stratified by label."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.problem import Problem
from adjudge.core.seeds import stream_seed
from adjudge.core.task import Data, SplitPlan
from adjudge.core.types import Split
from adjudge.data.units import unit_names

LEAST_FILLED = 0.9
"""The share of the rows asked for below which a split of groups is said to be small."""


@dataclass(frozen=True)
class Pool:
    """The rows from which splits are made.

    Attributes:
        keys: what a row shares with those that it stays together with: its text, its group; one or two of each row.
        strata: what is kept in proportion, one for each row; default: the labels.
    """

    rows: Split
    keys: Sequence[tuple[str, ...]]
    strata: Sequence[str | None] | None = None


def ranks(seed: int, keys: Iterable[str]) -> list[float]:
    """Each key's place in 0 to 1: a hash seeded by the split's stream, the same for ever and on every machine.

    It does not depend on the other keys.
    """
    start = hashlib.sha256(f"{stream_seed(seed, 'split')}:".encode())
    places = []
    for key in keys:
        seeded = start.copy()
        seeded.update(key.encode("utf-8", "surrogatepass"))
        places.append(int.from_bytes(seeded.digest()[:6], "big") / (1 << 48))
    return places


def rarest_labels(labels: Sequence[str | None], problem: Problem) -> list[str | None]:
    """The rarest of each row's labels, by which rows with several are stratified; the row's cell where it has none.

    Sets of labels are often unique, so that they could not be divided; the rarest label is the one that a split would
    miss first.
    """
    held = [() if cell is None else problem.split(cell) for cell in labels]
    counts = Counter(label for row in held for label in row)
    return [
        min(row, key=lambda label: (counts[label], label)) if row else cell
        for row, cell in zip(held, labels, strict=True)
    ]


def assign(pool: Pool, plan: SplitPlan, makes: Sequence[str], seed: int) -> dict[str, Split]:
    """Divide a pool into train and the splits to make.

    In each stratum (a label, or all rows) units are taken in the order of their rank: first for test, then for
    validation, and what is left is train. A unit that is larger than the room left goes on to the next split.
    The last unit of a stratum is always train's, so no label is lost to training. The sizes of the strata are
    rounded so that the sum is the size asked for; room that a small stratum cannot fill goes to the others.

    Args:
        pool: rows, and what keeps them together.
        plan: shares or numbers of rows.
        makes: which of validation and test to make.
        seed: the split seed.

    Raises:
        DataError: the plan asks for as many rows as there are, or a made split would be empty.

    Warns:
        AdjudgeWarning: groups are so large that a split gets less than nine tenths of what it should.
    """
    total = len(pool.rows)
    wanted: dict[str, int] = {str(name): _size(getattr(plan, name), total) for name in makes}
    if sum(wanted.values()) >= total:
        asked = ", ".join(f"{name}: {size}" for name, size in wanted.items())
        raise DataError(f"{pool.rows.source}: a split of {asked} rows leaves none of {total} rows for train")
    units = unit_names(pool.keys)
    strata = _strata(pool, units, plan.stratify, seed)
    place = _places(strata, wanted)
    names = [place.get(unit, "train") for unit in units]
    made = {name: [i for i, at in enumerate(names) if at == name] for name in ("train", *makes)}
    largest = max(Counter(units).values())
    joined = f" (equal texts join groups; the largest unit has {largest} rows)" if plan.group else ""
    for name, rows in made.items():
        if not rows:
            raise DataError(
                f"{pool.rows.source}: no rows come into {name}: {total} rows in {len(strata)} strata of too few "
                f"texts or groups{joined}; give more rows, a larger share, or `stratify: false`"
            )
        if joined and len(rows) < LEAST_FILLED * wanted.get(name, 0):
            warnings.warn(
                f"{pool.rows.source}: {name} gets {len(rows)} rows, not the {wanted[name]} asked for: the groups are "
                f"too large{joined}",
                AdjudgeWarning,
                stacklevel=3,
            )
    return {name: pool.rows.take(rows, name) for name, rows in made.items()}


def _places(strata: Sequence[Sequence[tuple[str, int]]], wanted: dict[str, int]) -> dict[str, str]:
    """The split of every unit that does not stay in train."""
    order: list[str] = [name for name in ("test", "validation") if name in wanted]
    sizes = [sum(size for _, size in units) for units in strata]
    rooms = {name: _share_out(wanted[name], sizes) for name in order}
    open_rows = dict(wanted)
    place: dict[str, str] = {}
    spare: list[tuple[str, int]] = []

    def put(unit: str, size: int, room: dict[str, int]) -> bool:
        name = next((name for name in order if room[name] >= size), None)
        if name is None:
            return False
        place[unit] = name
        room[name] -= size
        return True

    for at, units in enumerate(strata):
        room = {name: rooms[name][at] for name in order}
        spare += [(unit, size) for unit, size in units[:-1] if not put(unit, size, room)]
        for name in order:
            open_rows[name] -= rooms[name][at] - room[name]
    for unit, size in spare:
        put(unit, size, open_rows)
    return place


def _size(asked: float, total: int) -> int:
    return max(1, round(asked * total)) if asked < 1 else int(asked)


def _strata(pool: Pool, units: Sequence[str], stratify: bool, seed: int) -> list[list[tuple[str, int]]]:
    """Units with their sizes in the order of rank, by the label that most of a unit's rows have."""
    sizes: dict[str, int] = {}
    label_of: dict[str, str] = {}
    mixed: dict[str, Counter[str]] = {}
    for unit, found in zip(units, pool.rows.labels if pool.strata is None else pool.strata, strict=True):
        label = (found or "") if stratify else ""
        seen = sizes.get(unit, 0)
        sizes[unit] = seen + 1
        if label_of.setdefault(unit, label) != label and unit not in mixed:
            mixed[unit] = Counter({label_of[unit]: seen})
        if unit in mixed:
            mixed[unit][label] += 1
    for unit, counts in mixed.items():
        label_of[unit] = min(counts, key=lambda label: (-counts[label], label))
    strata: dict[str, list[tuple[str, int]]] = {}
    for _, unit in sorted(zip(ranks(seed, sizes), sizes, strict=True)):
        strata.setdefault(label_of[unit], []).append((unit, sizes[unit]))
    return [strata[label] for label in sorted(strata)]


def _share_out(total: int, sizes: Sequence[int]) -> list[int]:
    """Divide ``total`` in proportion to ``sizes`` by largest remainders (ties: the earlier one)."""
    whole = sum(sizes)
    exact = [total * size / whole for size in sizes]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def draw(splits: dict[str, Split], data: Data) -> dict[str, Split]:
    """Apply ``per_class`` to train and ``sample`` to every split it names, by the rank of the row ids.

    Warns:
        AdjudgeWarning: a label has fewer train rows than ``per_class``; all of them are taken.

    Raises:
        DataError: a sample larger than its split, or of a split that is not there.
    """
    result = dict(splits)
    problems = []
    if data.split.per_class:
        result["train"] = _per_class(result["train"], data.split.per_class, data.split_seed)
    for name, size in data.sample.items():
        if name not in result:
            problems.append(f"data.sample: there is no {name} split to draw {size} rows from")
        elif size > len(result[name]):
            problems.append(f"data.sample: {name} has {len(result[name])} rows, fewer than the {size} asked for")
        else:
            result[name] = _sample(result[name], size, data.split_seed)
    if problems:
        raise DataError(problems)
    return result


def _by_label(split: Split, seed: int) -> dict[str, list[int]]:
    """Positions of a split's rows by label, in the order of their ids' rank. Rows without a label come as ``""``."""
    found: dict[str, list[int]] = {}
    places = ranks(seed, (f"draw:{row_id}" for row_id in split.row_ids))
    for _, _, i in sorted(zip(places, split.row_ids, range(len(split)), strict=True)):
        found.setdefault(split.labels[i] or "", []).append(i)
    return {label: found[label] for label in sorted(found)}


def _per_class(split: Split, per_class: int, seed: int) -> Split:
    rows: list[int] = []
    for label, at in _by_label(split, seed).items():
        if not label:
            continue
        if len(at) < per_class:
            warnings.warn(
                f"{split.source}: label {label!r} has {len(at)} train rows, fewer than per_class: {per_class}; "
                "all are taken",
                AdjudgeWarning,
                stacklevel=4,
            )
        rows += at[:per_class]
    return split.take(sorted(rows))


def _sample(split: Split, size: int, seed: int) -> Split:
    strata = list(_by_label(split, seed).values())
    shares = _share_out(size, [len(at) for at in strata])
    return split.take(sorted(i for at, share in zip(strata, shares, strict=True) for i in at[:share]))
