"""The report of a search."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from adjudge.compare.search import history, importance, render_search, write_search
from adjudge.core.errors import WorkError
from adjudge.core.studies import StudyRecord, TrialRecord

TRIALS = (
    TrialRecord(0, "complete", 0.70, 1.0, {"training.learning_rate": 0.001, "rank": 8}, (0.6, 0.7)),
    TrialRecord(1, "pruned", 0.20, 0.5, {"training.learning_rate": 0.1, "rank": 4}, (0.2,)),
    TrialRecord(2, "complete", 0.65, 1.0, {"training.learning_rate": 0.002, "rank": 4}, (0.6, 0.65)),
    TrialRecord(3, "failed", None, 0.1, {}),
)
STUDY = StudyRecord("study/lora", "lora <b>", "tiny", TRIALS, 0, {"training.learning_rate": 0.8, "rank": 0.2})


def test_the_page_tells_of_every_trial_and_needs_nothing_else() -> None:
    page = render_search("reviews", [STUDY])
    HTMLParser().feed(page)
    assert "2 complete trials, 1 stopped early, 1 failed" in page
    assert "Best: trial 1, validation macro-F1 0.7000" in page
    assert page.count("<svg") == 2
    assert "lora &lt;b&gt;" in page
    assert "<b>" not in page
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert page == render_search("reviews", [STUDY])


def test_the_history_draws_complete_trials_and_the_best_so_far() -> None:
    drawn = str(history(STUDY))
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 4


def test_a_bar_for_each_option() -> None:
    drawn = str(importance(STUDY))
    assert drawn.count("<rect") == 2
    assert "80%" in drawn


def test_little_data_draws_nothing() -> None:
    empty = StudyRecord("s", "lora", None, TRIALS[:1], 0)
    assert history(empty) is None
    assert importance(empty) is None
    assert "<svg" not in render_search("reviews", [empty])


def test_a_report_that_cannot_be_written_is_an_error(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match="cannot be written"):
        write_search(tmp_path / "file" / "report.html", "reviews", [STUDY])
