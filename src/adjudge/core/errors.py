"""The errors that a user sees, each with the exit status that the command line gives it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_CREDENTIALS = re.compile(r"(?<=://)[^\s/@'\"]*:[^\s@]*@")


class AdjudgeWarning(UserWarning):
    """Something that the user should know and that does not stop the work."""


class AdjudgeError(Exception):
    """Base of every error that is shown to a user as a message, without a traceback."""

    exit_status = 1

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


class UsageError(AdjudgeError):
    """Unusable input: a file, a config, an argument. Nothing was written. Exit status 2.

    Args:
        problems: one message, or all the messages found at once. Each says what is wrong, where,
            the value given, what is allowed and what to do.
    """

    exit_status = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = [problems] if isinstance(problems, str) else problems
        self.problems: tuple[str, ...] = tuple(map(without_credentials, given))
        super().__init__("\n".join(self.problems))


class ConfigError(UsageError):
    """A task, a recipe or a method option that cannot be used."""


class DataError(UsageError):
    """A data file that cannot be read, or whose content cannot be used."""


class ModelNotFoundError(UsageError):
    """A model that cannot be had here; the message says what was tried and what to install."""


class MissingExtraError(UsageError):
    """An optional package that is not installed.

    Args:
        package: the import name that failed.
        extra: the extra of adjudge that brings it.
        purpose: what it is needed for, as the end of "needed to …".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"the package {package!r} is needed to {purpose} and is not installed; "
            f"install it with: pip install 'adjudge[{extra}]'"
        )


class WorkError(AdjudgeError):
    """Work that was asked for correctly and failed (a full disk, a non-finite loss). Exit status 1."""


def without_credentials(text: str) -> str:
    """A text whose URLs have lost their user names and passwords."""
    return _CREDENTIALS.sub("***@", text)


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like ``name``, or None if none is near."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.55)
    return found[0] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A clause for an error message: the allowed names, and the nearest one where there is one."""
    options = sorted(choices)
    near = nearest(name, options)
    hint = f"; did you mean {near!r}?" if near else ""
    shown = ", ".join(options[:40]) + (", …" if len(options) > 40 else "")
    return f"allowed: {shown}{hint}"
