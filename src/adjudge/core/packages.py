"""Files that lie inside installed packages, found without importing the package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def package_file(distribution: str, relative: str) -> Path | None:
    """The path of a file of an installed distribution, or None if it is not installed.

    Args:
        distribution: the distribution's name, as pip knows it.
        relative: the file's path as in the distribution's record, with forward slashes.
    """
    try:
        package = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(package.locate_file(relative)))
    return path if path.exists() else None
