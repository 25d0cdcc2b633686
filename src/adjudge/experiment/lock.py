"""One process at a time: a lock file that the system lets go of when its holder ends, however it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adjudge.core.errors import WorkError


@contextmanager
def exclusive(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock file for the length of the block.

    Args:
        file: made if it is not there; its folder must be.
        busy: the message where another process holds it.

    Raises:
        WorkError: another process holds it.
        OSError: the file cannot be written.
    """
    with file.open("w") as lock:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WorkError(busy) from error
        yield
