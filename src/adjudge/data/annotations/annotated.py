"""What every reader of an export takes and gives: records in, texts with people's answers out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adjudge.core.errors import DataError, UsageError, did_you_mean

SHOWN = 10
TEXT_NAMES = ("text", "data", "content", "body", "review", "sentence", "message", "comment", "document", "title")

Answer = tuple[str, ...]
"""The labels that one person chose for a text; empty where they chose that none applies."""


@dataclass(frozen=True)
class Judged:
    """A text and what people said of it.

    Attributes:
        text: what was judged.
        answers: one of each person who answered.
        fields: what else the export holds of it: texts and numbers.
        left_out: why it has no answer, where it has none: the end of "n rows …".
    """

    text: str
    answers: tuple[Answer, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    left_out: str = "that nobody has labelled"


@dataclass(frozen=True)
class Wanted:
    """Which parts of an export are wanted, where it has several.

    Attributes:
        text: name of the field that holds the text.
        label: name of the question, control or column that holds the label.
    """

    text: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Read:
    """An export as read.

    Attributes:
        rows: in the order of the file.
        several: the tool let people choose several labels for a text; otherwise that is seen from the answers.
        notes: what the user should know, one sentence each.
    """

    rows: Sequence[Judged]
    several: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Export:
    """One kind of export.

    Attributes:
        title: the tool and form, as a user knows them.
        recognise: whether records (objects, or lists of what a line holds) are of this kind.
        read: takes them and what is wanted. Raises `DataError` of rows that cannot be read and `UsageError` where the
            export asks more than one question and none was named.
        is_table: whether records that were recognised are rows of texts and labels that need no import: every one has
            the answer that counts.
    """

    title: str
    recognise: Callable[[Sequence[Any]], bool]
    read: Callable[[Sequence[Any], Wanted], Read]
    is_table: Callable[[Sequence[Any]], bool] = lambda records: False


def judged(
    records: Sequence[Any],
    text: Callable[[Any], Any],
    answers: Callable[[Any], Sequence[Answer | None]],
    fields: Callable[[Any], Mapping[str, Any]],
    left_out: str = Judged.left_out,
) -> list[Judged]:
    """Every record as a text with its answers.

    Args:
        records: in the order of the file.
        text: a record's text.
        answers: what people said of it; None of someone who did not answer. Raises ValueError, which completes
            "row 3 holds …".
        fields: what else is kept of it.
        left_out: see `Judged.left_out`.

    Raises:
        DataError: records that cannot be read, by what is wrong with them.
    """
    rows: list[Judged] = []
    wrong: dict[str, list[int]] = {}
    for number, record in enumerate(records, 1):
        said = text(record)
        if not isinstance(said, str):
            wrong.setdefault("no text", []).append(number)
            continue
        try:
            given = tuple(answer for answer in answers(record) if answer is not None)
        except ValueError as error:
            wrong.setdefault(str(error), []).append(number)
            continue
        rows.append(Judged(said, given, fields(record), left_out))
    if wrong:
        raise DataError(
            [
                f"row{'s' if len(at) > 1 else ''} {', '.join(map(str, at[:SHOWN]))}{', …' if len(at) > SHOWN else ''} "
                f"hold{'' if len(at) > 1 else 's'} {what}"
                for what, at in list(wrong.items())[:SHOWN]
            ]
        )
    return rows


def choose(given: str | None, names: Iterable[str], what: str, option: str) -> str:
    """The one that is wanted of several names.

    Raises:
        UsageError: none is there by that name, or there are several and none was named.
    """
    known = list(dict.fromkeys(names))
    if given is None and len(known) == 1:
        return known[0]
    if given is None or given not in known:
        said = f"no {what} {given!r}" if given is not None else f"{len(known)} {what}s"
        raise UsageError(f"{said}; name one with {option}; {did_you_mean(given or '', known)}")
    return given


def text_field(records: Sequence[Mapping[str, Any]], given: str | None, but: Iterable[str] = ()) -> str:
    """The field that holds the text: the one that was named, one that is called so, else that of the longest texts.

    Raises:
        UsageError: there is no such field.
    """
    excluded = set(but)
    lengths: Counter[str] = Counter()
    for record in records:
        for name, value in record.items():
            if isinstance(value, str) and name not in excluded:
                lengths[name] += len(value)
    if given is None:
        called = next((name for name in TEXT_NAMES if name in lengths), None)
        given = called or (lengths.most_common(1)[0][0] if lengths else None)
    if given is None or given not in lengths:
        raise UsageError(
            f"no field {given or 'of texts'!r}; name it with --text; {did_you_mean(given or '', lengths)}"
        )
    return given


def plain_fields(record: Mapping[str, Any], but: Iterable[str]) -> dict[str, Any]:
    """Texts, numbers and booleans of a record, without those named and those whose name begins with an underscore."""
    excluded = set(but)
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, str | int | float | bool) and name not in excluded and not name.startswith("_")
    }
