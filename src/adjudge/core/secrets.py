"""What must not be written: passwords of database URLs and queries, and where they come from instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

from adjudge.core.errors import DataError, without_credentials

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_USER = re.compile(r"[^:/@?]*(?::[^@]*)?@")
# A word such as api_key and what it is set to: a text in quotes, or a word without spaces around the equals sign.
_SECRET = re.compile(
    r"(?i)(\w*(?:password|passwd|pwd|secret|token|api_?key))(\s*(?:=>|:=|=)\s*'(?:[^']|'')*'|=[^\s'\"&;,)]+)"
)


def source_name(path: str) -> str:
    """A data source as a run may name it: base name of a file, hub id, embedded name, last part of a database URL.

    Absolute paths say who worked where, and database URLs hold passwords; neither belongs into a run.
    """
    scheme, separator, rest = path.partition("://")
    if not separator:
        return Path(path).name
    if scheme in ("hf", "embedded"):
        return path
    return f"{scheme}://{_USER.sub('', rest, count=1).split('?')[0].rstrip('/').rsplit('/', 1)[-1]}"


def masked(query: str) -> str:
    """A query, or what a database says about it, with ``***`` for what words such as password or token are set to."""
    return _SECRET.sub(r"\1=***", without_credentials(query))


def is_variable(path: str) -> bool:
    """Whether a source is named by an environment variable alone, as in ``${DATABASE_URL}``: a database then."""
    return _VARIABLE.fullmatch(path) is not None


def from_environment(text: str, where: str) -> str:
    """A text with the values of the environment variables that it names, as in ``${DB_PASSWORD}``.

    Args:
        text: as it is written in a file.
        where: what the text is, for the message.

    Raises:
        DataError: variables that are not set.
    """
    lacking = [name for name in _VARIABLE.findall(text) if name not in os.environ]
    if lacking:
        raise DataError(f"{where}: the environment variable {', '.join(lacking)} is not set; it is named in {text!r}")
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)
