"""Labels that people read as one: which ones are, and in what they differ, character by character."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from difflib import SequenceMatcher

from adjudge.core.errors import nearest

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_BETWEEN_WORDS = re.compile(r"(?<=\w)[\s_\-\u2010-\u2015\u2212]+(?=\w)")
_QUOTES = "'\"`\u2018\u2019\u201c\u201d\u00ab\u00bb"
# Cyrillic and Greek letters that look like Latin ones.
_LOOKALIKES = str.maketrans(
    "аеорсухіѕјАВЕКМНОРСТУХІЅЈοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ\u2019", "aeopcyxisjABEKMHOPCTYXISJoABEZHIKMNOPTYX'"
)
_SHOWN = 3


def fold(label: str) -> str:
    """A label without the differences that people do not see or do not mean.

    These are case, composition (NFC against NFD) and width of characters, white space, invisible characters, quotes
    around it, ``_`` or ``-`` for a space between words, ``1.0`` for ``1``, and letters of another script that look the
    same.
    """
    text = unicodedata.normalize("NFKC", label).translate(_LOOKALIKES)
    visible = "".join(char for char in text if char.isspace() or not _invisible(char)).strip()
    bare = visible.strip(_QUOTES).strip() or visible
    if _NUMBER.fullmatch(bare):
        number = Decimal(bare).normalize()
        return str(number or abs(number))
    return unicodedata.normalize("NFC", " ".join(_BETWEEN_WORDS.sub(" ", bare).casefold().split()))


def _invisible(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf") or "\ufe00" <= char <= "\ufe0f"


def is_clean(label: str) -> bool:
    """Whether a label is written in the ordinary way: composed, nothing invisible in it, no space around it."""
    return label == unicodedata.normalize("NFC", label).strip() and not any(map(_invisible, label))


def variants(labels: Sequence[str]) -> list[list[str]]:
    """The groups of labels that people read as one, written in at least two ways, in the order given."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(fold(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def difference(label: str, other: str) -> str:
    """In what a label differs from another one: the characters with their code points and names, and where they are.

    Where case alone differs, ``case``.
    """
    folded, other_folded = label.casefold(), other.casefold()
    if folded == other_folded:
        return "case"
    # Where folding keeps every character in its place, differences of case are named apart from the others.
    by_case = len(folded) == len(label) and len(other_folded) == len(other)
    pair = (other_folded, folded) if by_case else (other, label)
    parts = []
    for tag, start, end, other_start, other_end in SequenceMatcher(None, *pair, autojunk=False).get_opcodes():
        removed, added = other[start:end], label[other_start:other_end]
        if tag == "replace":
            parts.append(f"{code_points(added)} for {code_points(removed)}")
        elif tag == "insert":
            parts.append(f"{code_points(added)} {_place(other_start, other_end, label)}")
        elif tag == "delete":
            parts.append(f"a missing {code_points(removed)} {_place(start, end, other)}")
        elif removed != added and "case" not in parts:
            parts.append("case")
    return ", ".join(parts[:_SHOWN]) + (", …" if len(parts) > _SHOWN else "")


def _place(start: int, end: int, text: str) -> str:
    return "at the end" if end == len(text) else "at the start" if start == 0 else f"in place {start + 1}"


def near_label(label: str, known: Sequence[str]) -> str | None:
    """A clause that names the known label that this one is, but for its spelling, or that is most like it."""
    same = next((other for other in known if fold(other) == fold(label)), None)
    if same is not None:
        return f"{quoted(label)} differs from {quoted(same)} by {difference(label, same)}"
    near = nearest(label, known)
    return None if near is None else f"{label!r} is near {near!r}"


def code_points(text: str) -> str:
    """The characters of a text by code point and name: ``U+200B ZERO WIDTH SPACE``."""
    shown = [f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}" for char in text[:_SHOWN]]
    return " + ".join(shown) + (" + …" if len(text) > _SHOWN else "")


def quoted(label: str) -> str:
    """A label in double quotes, as JSON and YAML read it; escaped where a reader would not see what is there."""
    plain = label.isprintable() and unicodedata.normalize("NFC", label) == label
    return json.dumps(label, ensure_ascii=not plain)
