"""Where output goes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

PIPE_WIDTH = 160
"""Columns of a table that goes into a file or a pipe, where there is no window to fit."""


def results() -> Console:
    """The console for results, on standard output."""
    return _console(sys.stdout)


def notices() -> Console:
    """The console for progress, warnings and errors, on standard error."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    wide = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=stream, width=wide, highlight=False, soft_wrap=False)


def complain(message: str, *, mark: str = "error") -> None:
    """Print each line of a message to standard error behind ``error:`` (or another mark), never wrapped."""
    console = notices()
    style = {"error": "bold red", "warning": "bold yellow"}.get(mark, "bold")
    for line in message.splitlines():
        console.print(f"[{style}]{mark}:[/] {escape(line)}", soft_wrap=True)


def print_json(value: Any) -> None:
    """Print JSON and nothing else to standard output; with escapes where its encoding lacks a character."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    sys.stdout.write(text + "\n")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[str] = (),
    widths: Mapping[str, int] | None = None,
) -> Table:
    """A table of plain text.

    Args:
        columns: the headers.
        rows: cells in Rich's markup.
        numbers: columns that are set to the right.
        widths: characters that a column needs at least.
    """
    right, least = set(numbers), widths or {}
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(
            escape(column),
            justify="right" if column in right else "left",
            overflow="fold",
            min_width=least.get(column),
        )
    for row in rows:
        made.add_row(*row)
    return made


def print_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[str] = (),
    widths: Mapping[str, int] | None = None,
) -> None:
    """Print a `table`; where the window is too narrow to keep words whole, each row becomes a paragraph."""
    cells = list(rows)
    made = table(columns, cells, numbers=numbers, widths=widths)
    # A table measures itself against the window unless it is given more room; it also takes a margin at both ends.
    unbounded = console.options.update(max_width=10**6)
    if Measurement.get(console, unbounded, made).minimum < console.width:
        console.print(made)
        return
    console.print()
    for first, *others in cells:
        console.print(f"[bold]{first}[/]")
        named = [f"[dim]{escape(name)}[/] {cell}" for name, cell in zip(columns[1:], others, strict=True) if cell]
        console.print(Padding(" · ".join(named), (0, 0, 1, 2)))


def shorten(text: str, most: int = 40) -> str:
    """A text on one line, of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds as people say them: ``12 ms``, ``4.1 s``, ``41 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 0.1:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(n_bytes: float) -> str:
    """Bytes in the largest fitting unit: ``512 B``, ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024 or unit == "GiB":
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError


def quiet_libraries() -> None:
    """Keep the model libraries' own messages and bars off the screen and out of logs, unless the environment asks.

    Must run before they are imported: they read these variables once.
    """
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "HF_HUB_VERBOSITY": "error",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }.items():
        os.environ.setdefault(name, value)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.NullHandler())


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the source line that raised it."""
    del category, filename, lineno, file, line
    complain(str(message), mark="warning")
