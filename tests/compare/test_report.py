from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs_builder import Spec, build_run, make_rows

from adjudge.compare import figures
from adjudge.compare import report as report_module
from adjudge.compare.comparison import CompareOptions, Comparison, compare_runs
from adjudge.compare.report import render_report, write_report
from adjudge.core.errors import WorkError
from adjudge.core.runs import Run

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)> \" ' & {{ 7*7 }}"
SCRIPTS = ("ความสุข", "快乐", "радость", "😀", "<b>joy</b>", "a b|c")


class Page(HTMLParser):
    """Tags, attributes, ids and text of a page; fails on what is opened and never closed."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(realistic: Comparison, realistic_runs: list[Run]) -> str:
    return render_report(realistic, realistic_runs)


def test_the_sentence_comes_first_and_every_section_is_there(html: str, realistic: Comparison) -> None:
    assert html.index(realistic.sentence) < html.index('id="leaderboard"')
    ids = re.findall(r'<section id="(\w+)"', html)
    expected = ["leaderboard", "differences", "constants", "cost", "curves", "methods", "mistakes", "data", "measured"]
    assert ids == expected


def test_links_of_the_page_lead_to_places_in_it_and_nothing_is_fetched(html: str) -> None:
    page = Page(html)
    ids = {attributes.get("id") for _, attributes in page.tags}
    hrefs = [attributes["href"] for _, attributes in page.tags if "href" in attributes]
    assert len(hrefs) > 10
    assert all(href and href[0] == "#" and href[1:] in ids for href in hrefs)
    assert not [tag for tag, attributes in page.tags if "src" in attributes or tag in {"script", "link", "iframe"}]
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://", html)


def test_charts_have_names_and_tables_have_headers(html: str) -> None:
    charts = re.findall(r'<svg class="chart[^>]*>(.{0,7})', html)
    assert len(charts) > 20
    assert set(charts) == {"<title>"}
    assert html.count("<table") == html.count("<thead")
    assert 'lang="en"' in html


def test_it_follows_the_reader_to_dark_screens_phones_and_paper(html: str) -> None:
    for query in ("prefers-color-scheme: dark", "max-width: 680px", "@media print"):
        assert query in html
    assert 'name="viewport"' in html


def test_the_failed_run_the_scorings_and_the_gate_are_shown(html: str) -> None:
    assert "out of memory: 25.1 GiB wanted" in html
    assert "Ways of scoring the labels" in html
    assert "<td>pmi</td><td>0.36</td><td>0.44</td>" in html
    assert "5 texts of test are in train too" in html


def test_twenty_mistakes_are_shown_surest_first(html: str) -> None:
    listed = html[html.index('id="mistakes"') :]
    shares = [float(x) for x in re.findall(r"at ([\d.]+)%, gold", listed)]
    assert len(shares) == 20
    assert shares == sorted(shares, reverse=True)
    assert listed.count('<p dir="auto">') == 20


def test_without_texts_no_text_of_any_row_is_in_the_page(realistic: Comparison, realistic_runs: list[Run]) -> None:
    page = render_report(realistic, realistic_runs, texts=False)
    table = realistic_runs[0].texts()
    assert table is not None
    assert len(table) == 1200
    assert not [text for text in table["text"] if text in page]
    assert "(test text" not in page
    assert len(re.findall(r"<code>test-\d{5}</code>", page)) == 20


def test_runs_that_stored_no_texts_show_row_ids(tmp_path: Path) -> None:
    run = build_run(tmp_path, Spec("tfidf"), make_rows(100))
    (run.path / "texts.parquet").unlink()
    page = render_report(compare_runs([run], CompareOptions(resamples=200)), [run])
    assert len(re.findall(r"<code>test-\d{5}</code>", page)) == 20


def test_hostile_texts_and_labels_in_any_script_stay_text(tmp_path: Path) -> None:
    rows = make_rows(120, SCRIPTS, texts=[HOSTILE] * 120)
    specs = [Spec("lora", options={"note": HOSTILE}, epochs=2), Spec("tfidf", accuracy=0.7)]
    specs.append(Spec("full", status="failed", error=HOSTILE))
    runs = [build_run(tmp_path / str(i), spec, rows) for i, spec in enumerate(specs)]
    page = render_report(compare_runs(runs, CompareOptions(resamples=200)), runs, title=HOSTILE)
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>joy</b>" not in page
    assert "{{ 7*7 }}" in page
    assert all(label in page for label in SCRIPTS[:4])
    Page(page)


def test_many_labels_are_listed_by_confusion_instead_of_drawn(tmp_path: Path) -> None:
    rows = make_rows(300, [f"intent {i}" for i in range(30)])
    run = build_run(tmp_path, Spec("tfidf", accuracy=0.6), rows)
    page = render_report(compare_runs([run], CompareOptions(resamples=200)), [run])
    assert "Most frequent confusions" in page
    assert 'class="matrix"' not in page


def test_a_run_that_is_always_right_and_one_without_costs_are_fine(tmp_path: Path) -> None:
    rows = make_rows(100)
    runs = [build_run(tmp_path, Spec("tfidf", accuracy=1.0), rows), build_run(tmp_path, Spec("lora"), rows)]
    for run in runs:
        run.write_record(run.record() | {"cost": {}, "facts": {}, "hardware": {}})
        (run.path / "check.json").unlink()
    page = render_report(compare_runs(runs, CompareOptions(resamples=200)), runs)
    assert "None: every answer on test is right." in page
    assert 'id="data"' not in page


def test_what_neighbours_may_change_is_told_of_each_run(tmp_path: Path) -> None:
    measured = {
        "tolerance": 0.001,
        "largest_difference": 3.2e-7,
        "rows": 16,
        "near_ties": {"validation": 2, "test": 1},
    }
    rows = make_rows(100)
    runs = [
        build_run(tmp_path, Spec("tfidf"), rows),
        build_run(tmp_path, Spec("lora", "smollm2-135m", facts={"batch_invariance": measured}), rows),
    ]
    page = render_report(compare_runs(runs, CompareOptions(resamples=200)), runs)
    told = "probabilities differ by 0.001 at most (3e-07 measured on 16 texts)"
    assert page.count("asked alone or among others") == page.count(told) == 1
    assert f"{told}; rows so near a tie that this could change their answer: 2 validation, 1 test" in page


def test_the_same_runs_give_the_same_bytes(html: str, realistic: Comparison, realistic_runs: list[Run]) -> None:
    report_module.environment.cache_clear()
    assert render_report(realistic, realistic_runs) == html


def test_it_is_written_whole_and_a_place_that_cannot_be_written_is_one_error(
    tmp_path: Path, html: str, realistic: Comparison, realistic_runs: list[Run]
) -> None:
    write_report(tmp_path / "deep" / "report.html", realistic, realistic_runs)
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8") == html
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", realistic, realistic_runs)


def test_only_methods_shown_to_lose_leave_the_chart_of_differences(
    realistic: Comparison, realistic_runs: list[Run]
) -> None:
    chart = str(figures.differences(realistic, "macro_f1"))
    far = [t for t in realistic.differences if t.metric == "macro_f1" and t.low < -0.15]
    assert chart.count("◂") == len(far) > 0
    assert all(test.verdict == "beyond" for test in far)
    tolerant = compare_runs(realistic_runs, CompareOptions(resamples=300, margin=0.9))
    assert "◂" not in str(figures.differences(tolerant, "macro_f1"))
