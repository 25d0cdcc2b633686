"""What a run costs and where it ran: peak memory, sizes on disk, package versions, hardware."""

from __future__ import annotations

import os
import platform
import sys
import threading
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

PACKAGES = (
    "adjudge", "numpy", "polars", "pyarrow", "scikit-learn", "scipy", "torch", "transformers", "tokenizers",
    "peft", "safetensors",
)  # fmt: skip


class PeakMemory:
    """Peak resident memory of this process while the block runs, sampled by a thread.

    It is the whole process: libraries and what earlier runs of the same process left behind are in it, so
    `start_bytes` is recorded beside it. Peaks shorter than the interval may be missed.
    """

    def __init__(self, interval_seconds: float = 0.05) -> None:
        self._interval = interval_seconds
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        self.start_bytes = 0
        self.peak_bytes = 0

    def __enter__(self) -> PeakMemory:
        self.start_bytes = self.peak_bytes = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._note()

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            self._note()

    def _note(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def versions() -> dict[str, str]:
    """Python and the packages that a result can depend on; those not installed are left out."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def hardware() -> dict[str, Any]:
    """CPU model, usable cores, memory, and the GPU if torch is already imported and sees one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": platform.system(),
        "cpu": _cpu_model(),
        "cores": usable,
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _gpu(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    # Importing torch costs seconds and memory, which a tfidf run must not pay.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())
