"""Fresh processes import from where this one does, and never from the working folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from adjudge.core import processes

SHADOWS = ("random", "json", "numpy", "runpy", "queue", "sitecustomize", "adjudge")


@pytest.fixture
def shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose files are called like modules."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def import_all(folder: Path) -> list[str]:
    """A command that imports every name of `SHADOWS`, as a script in another folder."""
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(f"import {', '.join(SHADOWS[:-2])}\nprint(numpy.__file__)\n", encoding="utf-8")
    return processes.script_command(script)


@pytest.mark.parametrize("path", [None, "", ".", os.pathsep, f"{os.pathsep}/nowhere"])
def test_no_file_of_the_working_folder_stands_for_a_module(
    path: str | None, shadowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["", str(shadowed), *sys.path])
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    for command in (import_all(shadowed / "elsewhere"), processes.module_command("json.tool")):
        done = processes.run(command, "[1]")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_module_is_found_where_this_process_found_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("import sys\nprint(sys.argv[1:])\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    done = processes.run(processes.module_command("only_here", "a b", "ü"))
    assert done.stdout.strip() == "['a b', 'ü']"


def test_relative_folders_of_the_path_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = processes.environment({"PYTHONPATH": os.pathsep.join(["lib", ".", ""]), "PYTHONINSPECT": "1", "HOME": "h"})
    assert kept == {"HOME": "h", "PYTHONPATH": str(tmp_path / "lib"), "PYTHONSAFEPATH": "1"}


def test_the_command_line_keeps_processes_of_its_libraries_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    processes.keep_working_folder_out()
    assert os.environ["PYTHONSAFEPATH"] == "1"


def test_text_goes_through_whatever_the_locale_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    script = tmp_path / "echo.py"
    script.write_text("import sys\nprint(sys.stdin.read())\n", encoding="utf-8")
    assert processes.run(processes.script_command(script), "dé👍").stdout == "dé👍\n"
    assert json.loads(processes.run(processes.module_command("json.tool"), '["é"]').stdout) == ["é"]
