"""Consoles that lack characters, closed streams and readers that go away: the work is done all the same."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TextIO

import pytest

from adjudge.cli import main
from adjudge.cli.streams import ERRORS, Patient
from tests.cli.conftest import Call, reviews, write_csv

ACCENTED = {"neg": "déçu👎", "pos": "ravi ✓…"}


@pytest.fixture
def accented(here: Path) -> Path:
    """A data file whose labels few encodings hold."""
    return write_csv(here / "train.csv", [(text, ACCENTED[label]) for text, label in reviews(60, 1)])


class Console:
    """Standard output or error in some encoding, as bytes."""

    def __init__(self, encoding: str) -> None:
        self.buffer = io.BytesIO()
        self.stream = io.TextIOWrapper(self.buffer, encoding=encoding)

    def text(self) -> str:
        return self.buffer.getvalue().decode(self.stream.encoding)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("latin-1", r"déçu\U0001f44e, ravi \u2713..."),
        ("ascii", r"d\xe9\xe7u\U0001f44e, ravi \u2713..."),
        ("cp1252", r"déçu\U0001f44e, ravi \u2713…"),
        ("utf-8", "déçu👎, ravi ✓…"),
    ],
)
def test_a_label_that_the_console_lacks_is_shown_another_way(
    encoding: str, shown: str, accented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, errors = Console(encoding), Console(encoding)
    monkeypatch.setattr(sys, "stdout", output.stream)
    monkeypatch.setattr(sys, "stderr", errors.stream)
    assert main(["init", str(accented)]) == 0
    assert f"(2: {shown})" in output.text()
    assert main(["check", "tasks/train.yaml"]) == 0
    assert main(["check", str(accented)]) == 2
    assert "is no task file" in errors.text()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_json_stays_json_in_any_encoding(encoding: str, accented: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Console(encoding)
    monkeypatch.setattr(sys, "stdout", output.stream)
    main(["check", "--train", str(accented), "--text", "review", "--label", "rating", "--json"])
    assert json.loads(output.text())["splits"]["train"]["labels"] == dict.fromkeys(ACCENTED.values(), 30)


@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdin", "stdout", "stderr")])
def test_streams_that_were_closed_before_the_start_are_no_error(
    closed: tuple[str, ...], accented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert main(["init", str(accented)]) == 0
    assert Path("recipes/train.yaml").exists()
    assert all(getattr(sys, name) is None for name in closed)


def unread() -> TextIO:
    """A pipe whose reader has gone away."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", encoding="utf-8")


def test_readers_that_go_away_do_not_stop_a_run(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with unread() as output, unread() as errors, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        patched.setattr(sys, "stderr", errors)
        assert main(["run", str(recipe)]) == 1
    records = [json.loads(file.read_text(encoding="utf-8")) for file in Path("runs").rglob("run.json")]
    assert [record["status"] for record in records] == ["complete", "complete"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_results_that_could_not_be_printed_are_a_failure_and_notices_are_none(
    accented: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        assert main(["init", str(accented)]) == 1
    assert "standard output: No space left on device" in capsys.readouterr().err
    assert Path("recipes/train.yaml").exists()
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        assert main(["check", "tasks/nothing.yaml"]) == 2


def test_other_codec_errors_stay_errors() -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", ERRORS)


def test_a_patient_stream_is_the_stream_that_it_was_given() -> None:
    stream = Patient(io.StringIO())
    assert (stream.write("ab"), stream.getvalue(), stream.lost) == (2, "ab", None)


def test_names_that_are_no_text_are_refused(adjudge: Call) -> None:
    answer = adjudge("init", "caf\udce9.csv")
    assert answer.status == 2
    assert r"caf\udce9.csv: holds bytes that are no utf-8" in answer.err
