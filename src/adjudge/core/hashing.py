"""Content hashes: SHA-256 over canonical JSON, over texts and over files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no ASCII escapes: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def hash_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON-ready value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_text(text: str) -> str:
    """The first 16 hexadecimal digits of a text's SHA-256: the ``text_hash`` column."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def hash_rows(rows: Iterable[tuple[str, ...]]) -> str:
    """Hexadecimal SHA-256 over rows of strings, order kept."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical_json(row).encode("utf-8", "surrogatepass"))
        digest.update(b"\n")
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
