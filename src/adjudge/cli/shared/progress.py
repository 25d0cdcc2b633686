"""Progress on a terminal as bars, elsewhere as a line now and then; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from adjudge.cli.shared.screen import duration, notices

if TYPE_CHECKING:
    from adjudge.core.protocols import Advance

LINE_EVERY_SECONDS = 10.0


class _RateColumn(ProgressColumn):
    """Units a second over the last stretch of a bar."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s" if speed < 100 else f"{speed:,.0f}/s", style="dim")


class Bars:
    """`adjudge.core.protocols.Progress` as Rich bars with rate and time left; a finished bar goes away."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]left[/]"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
        )

    def start(self) -> None:
        """Begin to draw."""
        self._bars.start()

    def stop(self) -> None:
        """Stop drawing and clear what is left."""
        self._bars.stop()

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """See `adjudge.core.protocols.Progress.task`."""
        bar = self._bars.add_task(escape(description), total=total)
        try:
            yield lambda units: self._bars.advance(bar, units)
        finally:
            self._bars.remove_task(bar)


class Lines:
    """`adjudge.core.protocols.Progress` for logs: a line every ten seconds and one at the end of what took long."""

    def __init__(self, console: Console, every_seconds: float = LINE_EVERY_SECONDS) -> None:
        self.console = console
        self._every = every_seconds

    def start(self) -> None:
        """Nothing to set up."""

    def stop(self) -> None:
        """Nothing to clear."""

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """See `adjudge.core.protocols.Progress.task`."""
        began = time.monotonic()
        shown, done, printed = began, 0, -1

        def advance(units: int) -> None:
            nonlocal shown, done, printed
            done += units
            now = time.monotonic()
            if now - shown >= self._every:
                shown, printed = now, done
                self._print(description, done, total, now - began)

        yield advance
        elapsed = time.monotonic() - began
        if elapsed >= self._every and printed != done:
            self._print(description, done, total, elapsed)

    def _print(self, description: str, done: int, total: int | None, elapsed: float) -> None:
        rate = done / elapsed if elapsed > 0 else 0.0
        line = f"{description}: {done:,}"
        if total:
            line += f" of {total:,} ({done / total:.0%})"
        line += f", {rate:,.1f}/s, {duration(elapsed)}"
        if total and rate > 0 and done < total:
            line += f", {duration((total - done) / rate)} left"
        self.console.print(escape(line), soft_wrap=True)


@contextmanager
def progress() -> Iterator[Bars | Lines]:
    """Progress for the length of a command: bars where standard error is a terminal, else lines."""
    console = notices()
    shown: Bars | Lines = Bars(console) if sys.stderr.isatty() and console.is_terminal else Lines(console)
    shown.start()
    try:
        yield shown
    finally:
        shown.stop()
