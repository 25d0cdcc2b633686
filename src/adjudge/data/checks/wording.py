"""How findings put numbers into words."""

from __future__ import annotations


def rows(count: int) -> str:
    """``1 row``, ``2,000 rows``."""
    return _number(count, "row")


def texts(count: int) -> str:
    """``1 text``, ``2,000 texts``."""
    return _number(count, "text")


def labels(count: int) -> str:
    """``1 label``, ``12 labels``."""
    return _number(count, "label")


def verb(count: int, one: str, many: str) -> str:
    """The form of a verb that fits a number."""
    return one if count == 1 else many


def percent(share: float) -> str:
    """A share with one digit, with two below 1%; never a zero for what is there."""
    if 0 < share < 0.0001:
        return "less than 0.01%"
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def listed(names: list[str], most: int = 10) -> str:
    """The first names, quoted."""
    return ", ".join(map(repr, names[:most])) + (", …" if len(names) > most else "")


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
