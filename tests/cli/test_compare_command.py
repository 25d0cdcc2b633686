"""`adjudge compare` as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Call, Project, answer_json, reviews


def test_compare_prints_the_table_and_the_choice_and_writes_the_report(
    finished: Project, here: Path, adjudge: Call
) -> None:
    report = here / "report.html"
    answer = adjudge("compare", finished.tfidf.parent, "--report", report, "--constant", "a published model=0.5")
    assert answer.status == 0, answer.err
    assert "tfidf" in answer.out
    assert "Choose tfidf" in answer.out
    assert "a published model" in answer.out
    assert f"report: {report}" in answer.out
    page = report.read_text(encoding="utf-8")
    assert "<html" in page
    text = reviews(60, 3)[0][0]
    no_texts = adjudge("compare", finished.majority, "--report", report, "--no-texts")
    assert no_texts.status == 0
    assert text not in report.read_text(encoding="utf-8")


def test_compare_as_markdown_and_json(finished: Project, adjudge: Call) -> None:
    markdown = adjudge("compare", finished.tfidf, finished.majority, "--markdown")
    assert markdown.out.count("\n| ") >= 4
    found = answer_json(adjudge("compare", finished.tfidf, finished.majority, "--json", "--margin", "0.05").out)
    assert found["reference"] == "tfidf"
    assert found["options"]["margin"] == 0.05  # type: ignore[index]
    both = adjudge("compare", finished.tfidf, "--markdown", "--json")
    assert both.status == 2


@pytest.mark.parametrize("text", ["LLaMA", "LLaMA=92.6", "=0.9", "LLaMA=high"])
def test_a_constant_that_is_no_accuracy_is_refused(text: str, finished: Project, adjudge: Call) -> None:
    answer = adjudge("compare", finished.tfidf, "--constant", text)
    assert answer.status == 2
    assert text in answer.err


def test_compare_decides_by_the_metric_asked_for(finished: Project, adjudge: Call, here: Path) -> None:
    runs = (finished.tfidf, finished.majority)
    answer = answer_json(adjudge("compare", *runs, "--json", "--metric", "log_loss").out)
    assert (answer["options"]["metric"], answer["options"]["margin"]) == ("log_loss", 0.02)
    labels = answer["labels"]
    (here / "costs.yaml").write_text(f"{labels[0]}: {{{labels[1]}: 5}}\n", encoding="utf-8")
    answer = answer_json(adjudge("compare", *runs, "--json", "--metric", "cost", "--costs", "costs.yaml").out)
    assert answer["options"]["mistake_costs"] == {labels[0]: {labels[1]: 5.0}}
    assert "cost" in answer["groups"][0]["test"]


def test_compare_refuses_metrics_and_costs_that_are_none(finished: Project, adjudge: Call, here: Path) -> None:
    answer = adjudge("compare", finished.tfidf, "--metric", "macro_f2")
    assert answer.status == 2
    assert "did you mean 'macro_f1'" in answer.err
    (here / "costs.yaml").write_text("spam: 3\n", encoding="utf-8")
    answer = adjudge("compare", finished.tfidf, "--metric", "cost", "--costs", "costs.yaml")
    assert answer.status == 2
    assert "costs.yaml: expected costs as `gold label: {answer: cost}`" in answer.err
