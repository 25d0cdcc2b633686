"""Optional packages, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from adjudge.core.errors import MissingExtraError


def require(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        package: import name.
        extra: the extra of adjudge that installs it.
        purpose: what it is needed for, as the end of "needed to …".

    Raises:
        MissingExtraError: it is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package, extra, purpose) from error
