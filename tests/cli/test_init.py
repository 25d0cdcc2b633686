"""`adjudge init`: the first command that somebody with a file gives, and the mistake made before it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.conftest import Call, contents, reviews, write_csv


def test_init_writes_files_that_check_and_run_take_unedited(here: Path, adjudge: Call) -> None:
    write_csv(here / "shop reviews.csv", reviews(300, 5))
    answer = adjudge("init", "shop reviews.csv")
    assert answer.status == 0, answer.err
    assert "text 'review', label 'rating' (2: neg, pos)" in answer.out
    assert re.search(r"all six methods: (about .+|under a minute) on this machine", answer.out)
    assert adjudge("check", "tasks/shop-reviews.yaml").status == 0
    ran = adjudge("run", "recipes/shop-reviews.yaml", "--set", "methods=[{kind: majority}]")
    assert ran.status == 0, ran.err
    before = contents(here)
    again = adjudge("init", "shop reviews.csv")
    assert again.status == 2
    assert "not overwritten" in again.err
    assert contents(here) == before


def test_check_of_a_data_file_says_how_it_is_done(here: Path, adjudge: Call) -> None:
    write_csv(here / "reviews.csv", reviews(30, 5))
    answer = adjudge("check", "reviews.csv")
    assert answer.status == 2
    assert "adjudge check --train reviews.csv" in answer.err
    assert "adjudge init reviews.csv" in answer.err
