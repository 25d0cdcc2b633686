"""Quantities, marks and tables on the screen."""

from __future__ import annotations

import io
import warnings

import pytest
from rich.console import Console

from adjudge.cli import main
from adjudge.cli.shared.screen import complain, duration, print_table, shorten, size
from adjudge.core.errors import AdjudgeWarning


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0012, "1.2 ms"), (0.5, "0.5 s"), (9.94, "9.9 s"), (41.2, "41 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("n_bytes", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB")])
def test_sizes_have_their_unit(n_bytes: int, text: str) -> None:
    assert size(n_bytes) == text


def test_a_table_too_wide_for_the_window_becomes_paragraphs_with_whole_words() -> None:
    columns, row = ("code", "level", "what"), ("near_duplicate", "warning", "2 texts are nearly another one")
    shown = {}
    for width in (100, 50):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        print_table(console, columns, [row], widths={"what": 40})
        shown[width] = console.file.getvalue()  # type: ignore[attr-defined]
    assert "what" in shown[100].splitlines()[1]
    assert shown[50].split() == "near_duplicate level warning · what 2 texts are nearly another one".split()  # noqa: SIM905
    assert all(len(line) <= 50 for line in shown[50].splitlines())


def test_a_shortened_text_is_one_line() -> None:
    assert shorten("a\n b\tc") == "a b c"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"


def test_each_problem_is_a_line_with_its_mark_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    complain("first [bold]x[/bold]\nsecond " + "long " * 60)
    assert capsys.readouterr().err == "error: first [bold]x[/bold]\nerror: second " + "long " * 60 + "\n"


def test_own_warnings_are_one_line_and_those_of_libraries_stay_off_the_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(_: object) -> None:
        warnings.warn("look at this", AdjudgeWarning, stacklevel=1)
        warnings.warn("internal matter of a library", FutureWarning, stacklevel=1)

    monkeypatch.setattr("adjudge.core.task.load_task", noisy)
    main(["check", "task.yaml"])
    err = capsys.readouterr().err
    assert err.startswith("warning: look at this\n")
    assert "internal matter" not in err
