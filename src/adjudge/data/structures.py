"""Lists and objects that were written into a cell as text: JSON, and what Python, NumPy and databases print."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_WRAPPED = re.compile(r"^(?:array|frozenset|set|list|tuple)\((.*?)(?:,\s*dtype=[^,()]+)?,?\s*\)$", re.DOTALL)
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_ITEM = rf"(?:{_QUOTED}|{_NUMBER}|None|null|nan|NaN|True|False|true|false)"
_FLAT = re.compile(rf"^[\[({{]\s*(?:{_ITEM}(?:\s*,\s*|\s+))*(?:{_ITEM})?\s*[\])}}]$")
_ITEMS = re.compile(_ITEM)
_BARE = re.compile(r"^(?:\[[^\[\]{}]*\]|\{[^\[\]{}:]*\})$", re.DOTALL)
_ADJACENT = re.compile(rf"(?:{_QUOTED})\s+(?:{_QUOTED})")
_BEGUN = re.compile(r"^[\[({]\s*['\"]")
_MISSING = ("None", "null", "nan", "NaN")
_PAIRS = {"[": "]", "(": ")", "{": "}"}


def parse_structure(text: str, *, bare: bool = False) -> list[Any] | dict[str, Any] | None:
    """The list or object that a text stands for.

    Args:
        text: of a cell, such as ``["joy", "love"]``, ``['joy' 'love']``, ``{'joy', 'love'}``, ``[0 1]``,
            ``{"choices": ["joy"]}``.
        bare: words without quotes are items too, ``[joy, love]`` and ``{joy,love}``. A ``[joy]`` among words without
            brackets may be a word in brackets, and so it is not.

    Returns:
        None for a text that is neither.

    Raises:
        ValueError: a text that begins as a quoted list or object and cannot be read as one.
    """
    text = text.strip()
    if (wrapped := _WRAPPED.match(text)) is not None:
        text = wrapped.group(1).strip() or "[]"
    if text[:1] not in _PAIRS or not text:
        return None
    closed = text.endswith(_PAIRS[text[0]])
    if closed and (found := _json(text)) is not None:
        return found
    if closed and _FLAT.match(text) and (text[0] != "(" or set(text) & set("'\",")):
        return [_item(item) for item in _ITEMS.findall(text[1:-1])]
    if closed and (found := _literal(text)) is not None:
        return found
    if _BEGUN.match(text):
        raise ValueError("what begins as a list or an object and cannot be read as one")
    if bare and _BARE.match(text):
        return [item for part in text[1:-1].split(",") if (item := part.strip().strip("'\"“”‘’"))]
    return None


def is_bracketed(text: str) -> bool:
    """Whether a text stands in square brackets or braces."""
    return _BARE.match(text.strip()) is not None


def _json(text: str) -> list[Any] | dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list | dict) else None


def _item(text: str) -> Any:
    if text in _MISSING:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return ast.literal_eval(text) if text[0] in "'\"" else float(text) if set(text) & set(".eE") else int(text)


def _literal(text: str) -> list[Any] | dict[str, Any] | None:
    """What Python prints: nested lists, and dictionaries, whose keys become texts.

    NumPy prints no commas, and Python would make one text of two that stand side by side.
    """
    if _ADJACENT.search(text):
        return None
    try:
        value = _plain(ast.literal_eval(text))
        return value if isinstance(value, list | dict) else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in (sorted(value, key=str) if isinstance(value, set) else value)]
    return value
