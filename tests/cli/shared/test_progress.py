"""Progress in a log and on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from adjudge.cli.shared import progress as module
from adjudge.cli.shared.progress import Bars, Lines, progress


def test_lines_say_how_far_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Lines(Console(file=stream, width=200)).task("Training [1]", 1000) as advance:
        now[0] += 4
        advance(100)
        now[0] += 6
        advance(100)
        now[0] += 30
        advance(800)
    assert stream.getvalue().splitlines() == [
        "Training [1]: 200 of 1,000 (20%), 20.0/s, 10 s, 40 s left",
        "Training [1]: 1,000 of 1,000 (100%), 25.0/s, 40 s",
    ]


def test_short_work_leaves_no_line() -> None:
    stream = io.StringIO()
    with Lines(Console(file=stream)).task("Reading", None) as advance:
        advance(5)
    assert stream.getvalue() == ""


def test_bars_show_the_work_and_go_away() -> None:
    stream = io.StringIO()
    bars = Bars(Console(file=stream, force_terminal=True, width=120))
    bars.start()
    with bars.task("Encoding [all]", 10) as advance:
        advance(4)
        bars._bars.refresh()
    bars.stop()
    assert "Encoding [all]" in stream.getvalue()
    assert "4/10" in stream.getvalue()


def test_progress_outside_a_terminal_is_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as shown:
        assert isinstance(shown, Lines)
        shown.console.print("to the log")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "to the log\n")
