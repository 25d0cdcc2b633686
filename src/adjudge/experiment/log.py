"""``log.jsonl``: one event a line, written as it happens, so that a killed run keeps its history."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from adjudge.core.errors import without_credentials


class RunLog:
    """Appends events to a file; a callable, so that it is a `adjudge.core.protocols.Log`.

    Args:
        path: the file; made if it is not there.
        since: seconds that an earlier part of the same run took.
    """

    def __init__(self, path: Path, since: float = 0.0) -> None:
        self._stream = path.open("a", encoding="utf-8")
        self._began = time.perf_counter() - since

    def __call__(self, event: dict[str, Any]) -> None:
        """Append one event with the seconds since the run began. Non-finite numbers become null."""
        line = {"seconds": round(time.perf_counter() - self._began, 3), **event}
        self._stream.write(json.dumps(_finite(line), ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()

    def note(self, message: str, event: str = "note") -> None:
        """Append a message."""
        self({"event": event, "message": without_credentials(message)})

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
