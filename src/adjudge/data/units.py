"""Which rows may not be parted: those of one group and those of one text, and all that these connect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

GROUP = "group:"
"""How the key of a group begins; the key of a text is hexadecimal digits."""


class Units:
    """Keys (groups and texts) joined into units, each in one split where that is known.

    A unit is named by its first group, else by its first text. So the name, by whose hash a unit comes into a split,
    does not depend on the order of the rows.
    """

    def __init__(self) -> None:
        self._above: dict[str, str] = {}
        self._split: dict[str, str] = {}

    def name(self, key: str) -> str:
        """The name of the unit that a key belongs to; a key that was not seen before is a unit of its own."""
        above = self._above.setdefault(key, key)
        while above != key:
            self._above[key] = self._above[above]  # halves the way for the next one who asks
            key, above = above, self._above[above]
        return key

    def split(self, key: str) -> str | None:
        """The split of the unit that a key belongs to, or None."""
        return self._split.get(self.name(key))

    def join(self, keys: Sequence[str], split: str | None = None) -> bool:
        """Make one unit of those that the keys of a row belong to.

        Args:
            keys: at least one.
            split: the split that the row is in, where that is known.

        Returns:
            Whether they were joined. They are not where that would put two splits into one unit; then units without
            a split get the row's.
        """
        names = [self.name(key) for key in keys]
        splits = {self._split[name] for name in names if name in self._split} | ({split} if split else set())
        if len(splits) > 1:
            if split:
                for name in names:
                    self._split.setdefault(name, split)
            return False
        first = min(names, key=_groups_first)
        self._above.update(dict.fromkeys(names, first))
        if splits:
            self._split[first] = splits.pop()
        return True


def unit_names(keys: Iterable[Sequence[str]]) -> list[str]:
    """The unit of every row, ``[N]``, from the keys of each (at least one)."""
    rows = list(keys)
    if all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    units = Units()
    for row in rows:
        units.join(row)
    return [units.name(row[0]) for row in rows]


def _groups_first(name: str) -> tuple[bool, str]:
    return not name.startswith(GROUP), name
