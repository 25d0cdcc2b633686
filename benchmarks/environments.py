"""Virtual environments of the peers, built from pinned lists of packages (`requirements/<name>.txt`) at first use."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

LISTS = Path(__file__).parent / "requirements"
VARIABLE = "ADJUDGE_BENCH_ENVS"


class EnvironmentUnavailableError(Exception):
    """A peer's environment cannot be had; the message says why."""


def default_root() -> Path:
    """Where the environments are: ``$ADJUDGE_BENCH_ENVS``, else ``~/.cache/adjudge-bench``."""
    return Path(os.environ.get(VARIABLE, Path.home() / ".cache" / "adjudge-bench"))


def interpreter(name: str, root: Path) -> Path:
    """The Python of a peer's environment, which is built or brought up to its list first.

    ``own`` names the environment that this program runs in.

    Raises:
        EnvironmentUnavailableError: it cannot be built.
    """
    if name == "own":
        return Path(sys.executable)
    listed = LISTS / f"{name}.txt"
    folder = root / name
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = hashlib.sha256(listed.read_bytes()).hexdigest()
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return python
    print(f"building the environment {name} in {folder}", file=sys.stderr, flush=True)
    try:
        if not python.exists():
            venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EnvironmentUnavailableError(f"environment {name}: {error}") from error
    # torch comes first, so that the build which fits the machine is settled before anything else asks for one.
    torch = next(line for line in listed.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    # The lists are complete, so nothing else is asked for: LLaMA-Factory names torchvision, which it never needs for
    # text, and whose files for CUDA break Transformers' imports beside a torch for the CPU.
    for arguments in ([torch], ["--no-deps", "-r", str(listed)]):
        _install(name, python, arguments)
    ready.write_text(wanted, encoding="utf-8")
    return python


def _install(name: str, python: Path, arguments: list[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise EnvironmentUnavailableError(f"environment {name}: pip said: {said[-1] if said else 'nothing'}")
