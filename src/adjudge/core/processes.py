"""Processes of Python that this one starts: they import nothing from the working folder.

Python puts the working folder in front of the standard library for ``-m`` and ``-c``, and a script's own folder for a
script. A file that a user calls ``random.py`` would then stand for the module of that name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_MODULE = (
    "import runpy, sys; sys.path[:] = {paths!r}; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module as ``python -m`` does, in a fresh process that imports from where this one does.

    Left out are the working folder and the folder of the script that runs here.
    """
    code = _MODULE.format(paths=list(_paths()), module=module)
    return [sys.executable, *_flags(), "-c", code, *arguments]


def script_command(script: Path, *arguments: str) -> list[str]:
    """The command that runs a script in a fresh process; it imports nothing from its own folder either."""
    return [sys.executable, *_flags(), str(script), *arguments]


def run(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of `module_command` or `script_command` to its end.

    Args:
        command: program and arguments.
        text: its standard input; default: none.
    """
    return subprocess.run(
        command,
        input=text or "",
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env=environment(os.environ),
    )


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a fresh process: no working folder on its path, nor on that of processes that it starts."""
    path = [
        str(Path(entry).resolve()) for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if _foreign(entry)
    ]
    unwanted = ("PYTHONPATH", "PYTHONINSPECT", "PYTHONIOENCODING")
    return {
        **{name: value for name, value in variables.items() if name not in unwanted},
        **({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
        "PYTHONSAFEPATH": "1",
    }


def keep_working_folder_out() -> None:
    """Let no process that this one, or a library in it, starts from now on import from the working folder."""
    os.environ.setdefault("PYTHONSAFEPATH", "1")


def _flags() -> list[str]:
    """As isolated as this process is, and never with the working folder or a script's in front; UTF-8 throughout."""
    chosen = {"-I": sys.flags.isolated, "-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    return ["-P", "-X", "utf8", *(flag for flag, on in chosen.items() if on)]


def _paths() -> Iterator[str]:
    """Where this process imports from; adjudge's own place last, should it be one of those left out."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = Path(script).resolve().parent if script else None
    paths = [str(Path(entry).resolve()) for entry in sys.path if _foreign(entry)]
    own = str(Path(__file__).resolve().parents[2])
    yield from dict.fromkeys(path for path in paths if path == own or Path(path) != beside)
    if own not in paths:
        yield own


def _foreign(entry: str) -> bool:
    """Whether an entry of a path is some other place than the working folder, which an empty one means too."""
    return entry != "" and Path(entry).resolve() != Path.cwd()
