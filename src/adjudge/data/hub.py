"""Data sets of the Hugging Face hub, without any code of theirs."""

from __future__ import annotations

from typing import Any

import polars as pl

from adjudge.core.errors import DataError, did_you_mean
from adjudge.core.optional import require
from adjudge.core.task import Source
from adjudge.data.files import columnar


def read(source: Source, role: str) -> pl.DataFrame:
    """One split of a hub data set; class numbers are turned into their names.

    Only data files are read: loading scripts are refused by `datasets`, and none is asked for.

    Args:
        source: ``hf://owner/name`` or ``hf://owner/name/config``; its ``split`` overrides the role.
        role: the split that is wanted: ``train``, ``validation`` or ``test``.

    Raises:
        DataError: a malformed id, a data set or split that is not there, or no network.
        MissingExtraError: `datasets` is not installed.
    """
    parts = source.path.removeprefix("hf://").strip("/").split("/")
    if len(parts) not in {2, 3} or not all(parts):
        raise DataError(f"{source.path}: a hub id reads hf://owner/name or hf://owner/name/config")
    datasets = require("datasets", "hub", "read data sets of the Hugging Face hub")
    datasets.disable_progress_bars()  # they would fill a log
    name = "/".join(parts[:2])
    config = parts[2] if len(parts) == 3 else None
    wanted = source.split or role
    try:
        loaded = datasets.load_dataset(name, config)
    except Exception as error:  # the client raises dozens of classes, and all mean: cannot be had
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{source.path}: cannot be had from the hub ({type(error).__name__}: {reason}); check the id, the config "
            "and the network, or download the files and name them by path"
        ) from error
    if wanted not in loaded:
        raise DataError(f"{source.path}: no split {wanted!r}; {did_you_mean(wanted, loaded)}; choose with `split`")
    return to_frame(loaded[wanted], source.path)


def to_frame(dataset: Any, name: str = "") -> pl.DataFrame:
    """A `datasets.Dataset` as columns, with the names of classes instead of their numbers (−1 is missing)."""
    return columnar.to_frame(dataset.with_format("arrow")[:], name)
