"""Names of classes that `datasets` writes beside its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

_KEY = b"huggingface"


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The columns of an Arrow schema that hold class numbers, each with the names of the classes in order."""
    try:
        features = json.loads((metadata or {})[_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return names_of(features) if isinstance(features, dict) else {}


def names_of(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of features, as `datasets` writes them to JSON, that hold class numbers or lists of them."""
    named = {}
    for column, feature in features.items():
        inner = feature
        while isinstance(inner, dict) and inner.get("_type") in ("Sequence", "List", "LargeList"):
            inner = inner.get("feature")
        if isinstance(inner, list) and len(inner) == 1:
            inner = inner[0]
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            named[column] = [str(name) for name in inner["names"]]
    return named


def with_names(frame: pl.DataFrame, named: Mapping[str, list[str]]) -> pl.DataFrame:
    """The frame with the names of classes in place of their numbers; −1 is missing, another number stays as it is."""
    for column, names in named.items():
        dtype = frame.schema.get(column)
        inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
        if not isinstance(inner, pl.DataType) or not inner.is_integer():
            continue
        at: dict[int, str | None] = {-1: None, **dict(enumerate(names))}

        def renamed(cells: pl.Expr, at: dict[int, str | None] = at) -> pl.Expr:
            return cells.replace_strict(at, default=cells.cast(pl.String), return_dtype=pl.String)

        cells = pl.col(column)
        lists = isinstance(dtype, pl.List | pl.Array)
        frame = frame.with_columns(
            cells.cast(pl.List(inner)).list.eval(renamed(pl.element())) if lists else renamed(cells)
        )
    return frame
