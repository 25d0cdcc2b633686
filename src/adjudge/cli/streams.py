"""Standard input, output and error as they are: closed, without a reader, in an encoding with few characters.

What cannot be printed never stops work. A character that the encoding lacks is written another way, and a stream that
nobody reads, or whose disk is full, is given up while the work goes on.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

ERRORS = "adjudge.legible"
_PLAIN = {
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "·": "-",
    "×": "x",
    "≥": ">=",
    "≤": "<=",
    "±": "+-",
    "→": "->",
    "\u00a0": " ",
}


def _legible(error: UnicodeError) -> tuple[str, int]:
    """A codec's answer to characters that an encoding lacks: plain signs of the same sense, else their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(
        _PLAIN.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking
    ), error.end


codecs.register_error(ERRORS, _legible)


class Patient:
    """A text stream that gives up what cannot be written any more, and otherwise is the stream that it was given."""

    lost: OSError | None = None

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or give the stream up; the number of characters either way."""
        try:
            self._stream.write(text)
        except OSError as error:
            self.give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or give the stream up."""
        try:
            self._stream.flush()
        except OSError as error:
            self.give_up(error)

    def give_up(self, error: OSError) -> None:
        """Remember why, and let what is still held back go nowhere."""
        self.lost = self.lost or error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def patient_streams() -> Iterator[Patient]:
    """Put streams that cannot fail in the place of standard output and error for a while; the one of the output.

    A stream that was closed before the process began reads and writes nothing.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)
    output, errors = Patient(sys.stdout), Patient(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdin, sys.stdout, sys.stderr = before
