"""Rows that cannot be read: counted, shown, and left out only where a source says how many may be."""

from __future__ import annotations

import re
import warnings

from adjudge.core.errors import AdjudgeWarning, DataError

SHOWN = 10
_DAMAGED = re.compile("[\0\ud800-\udfff]")


class BadRows:
    """The bad rows of one file.

    Args:
        name: the file's, for messages.
        limit: most rows that may be left out; with 0, one bad row stops the work.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._shown: list[str] = []
        self.count = 0

    def add(self, place: str, problem: str) -> None:
        """Note a row, such as ``line 14``, and what is wrong with it."""
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(f"{place}: {problem}")

    def conclude(self, advice: str, expected: str = "") -> None:
        """Say which rows are left out, or stop.

        Args:
            advice: what to do about such rows.
            expected: how a row should look, where that is not plain.

        Raises:
            DataError: there are more bad rows than may be left out.

        Warns:
            AdjudgeWarning: rows are left out.
        """
        if not self.count:
            return
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        shown = "; ".join(self._shown) + ("; …" if self.count > SHOWN else "")
        if self.count <= self._limit:
            warnings.warn(
                f"{self._name}: {rows} that cannot be read {'is' if self.count == 1 else 'are'} left out: {shown}",
                AdjudgeWarning,
                stacklevel=3,
            )
            return
        allowed = f" (at most {self._limit} may be left out)" if self._limit else ""
        raise DataError(
            f"{self._name}: {rows} cannot be read{f' as {expected}' if expected else ''}{allowed}: {shown}; {advice}, "
            f"or leave such rows out with `skip_bad_rows: {self.count}` (--skip-bad-rows {self.count})"
        )


def damage(text: str) -> str | None:
    """What is wrong with the characters of a line that was decoded leniently; None if nothing is."""
    match = _DAMAGED.search(text)
    if match is None:
        return None
    if match.group() == "\0":
        return f"a NUL byte at character {match.start() + 1}"
    return f"byte 0x{ord(match.group()) - 0xDC00:02X} at character {match.start() + 1} is no text in this encoding"
