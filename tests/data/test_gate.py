"""The gate as a whole: its JSON, its order, levels, counting of texts, sizes and scripts that could break it."""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.core.errors import ConfigError
from adjudge.core.types import Split
from adjudge.data.gate import CODES, Finding, GateOptions, Report, check

LABELS = ("no", "yes")


def split(name: str, rows: list[tuple[str, str | None]], source: str = "") -> Split:
    return Split(
        name=name,
        texts=[text for text, _ in rows],
        labels=[label for _, label in rows],
        row_ids=[f"{name}-{i}" for i in range(len(rows))],
        row_numbers=range(1, len(rows) + 1),
        source=source,
    )


def by_code(report: Report, code: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == code]


def only(report: Report, code: str) -> Finding:
    (found,) = by_code(report, code)
    return found


def places(finding: Finding) -> list[tuple[str, int]]:
    return [(row["split"], row["row"]) for row in finding.rows]


def test_json_has_exactly_the_keys_of_the_stable_interface():
    report = check({"train": split("train", [("", "yes"), ("good", "no")], source="a.csv")})
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(document) == {"findings", "splits"}
    assert document["splits"] == {"train": {"rows": 2, "labels": {"no": 1, "yes": 1}, "source": "a.csv"}}
    for finding in document["findings"]:
        assert list(finding) == [
            "code",
            "level",
            "splits",
            "count",
            "count_rows",
            "rows",
            "rows_truncated",
            "message",
        ]
    assert document["findings"][0] == {
        "code": "empty_text",
        "level": "error",
        "splits": ["train"],
        "count": 1,
        "count_rows": 1,
        "rows": [{"split": "train", "row": 1}],
        "rows_truncated": False,
        "message": "1 row of train (50.0%) has no text (empty, white space or invisible characters): no model can "
        "decide them; remove or fill them.",
    }


def test_rows_stop_at_a_thousand_and_say_so():
    report = check({"train": split("train", [("", "yes")] * 1_001 + [("a text", "no")])})
    found = only(report, "empty_text")
    assert (found.count, found.count_rows, len(found.rows), found.rows_truncated) == (1, 1_001, 1_000, True)


def test_row_is_the_data_record_of_the_source_not_the_position():
    part = Split("train", ["fine", " "], ["yes", "no"], ["a", "b"], row_numbers=[17, 40])
    assert places(only(check({"train": part}), "empty_text")) == [("train", 40)]


def test_findings_are_ordered_by_level_code_and_split():
    rows = [("same text here", "yes"), ("same text here", "no"), (" ", "yes"), ("write to a@b.org", None)]
    report = check(
        {"train": split("train", rows), "validation": split("validation", rows), "test": split("test", rows)}
    )
    names = ["train", "validation", "test"]
    keys = [
        (("error", "warning", "note").index(f.level), f.code, [names.index(name) for name in f.splits])
        for f in report.findings
    ]
    assert keys == sorted(keys)
    assert {"error", "warning", "note"} == {finding.level for finding in report.findings}
    assert {finding.code for finding in report.findings} <= set(CODES)


def test_errors_are_what_is_not_accepted_by_name():
    rows = [("one text of the data", "yes"), ("", "no"), ("another thing entirely", "no")]
    report = check({"train": split("train", rows), "test": split("test", rows)})
    assert {finding.code for finding in report.errors()} == {"empty_text", "overlap"}
    assert {finding.code for finding in report.errors(["overlap"])} == {"empty_text"}
    assert report.errors(["overlap", "empty_text"]) == []


def test_accepting_an_unknown_code_names_the_nearest_one():
    report = check({"train": split("train", [("a", "yes"), ("b", "no")])})
    with pytest.raises(ConfigError, match=r"'overlaps'.*did you mean 'overlap'"):
        report.errors(["overlaps"])


def test_options_outside_their_range_are_refused_all_at_once():
    with pytest.raises(ConfigError) as caught:
        GateOptions(near_duplicate_threshold=1.5, sample_rows=0, max_tokens=0)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("splits", [{}, {"train": split("train", [])}, {"train": split("train", [("x", None)])}])
def test_next_to_nothing_is_no_crash(splits: dict[str, Split]):
    report = check(splits)
    assert [found.code for found in report.findings] in ([], ["missing_label"])


def test_equal_input_gives_an_equal_report():
    rows = [(f"the {i % 7} quick brown foxes number {i % 11} jump", LABELS[i % 2]) for i in range(60)]
    data = {"train": split("train", rows[:40]), "test": split("test", rows[40:])}
    assert check(data).to_json() == check(data).to_json()


SAME = [
    ("caf\u00e9 du coin", "cafe\u0301  du coin "),  # NFC and white space
    ("สวัสดีครับ ทุกคน", "\u3000สวัสดีครับ\tทุกคน"),  # Thai, ideographic space
    ("故意伤害罪 成立", "故意伤害罪\n成立"),
    ("\u1112\u1161\u11ab\u1100\u1173\u11af", "\ud55c\uae00"),  # Hangul: jamo compose under NFC
    ("👩‍👩‍👧 да", "👩‍👩‍👧\u00a0да"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_texts_are_the_same_after_nfc_strip_and_collapse_in_any_script(first: str, second: str):
    report = check({"train": split("train", [(first, "yes")]), "test": split("test", [(second, "yes")])})
    found = only(report, "overlap")
    assert (found.count, found.count_rows, found.splits) == (1, 2, ("train", "test"))
    assert not by_code(report, "near_duplicate")


@pytest.mark.parametrize(("first", "second"), [("Good", "good"), ("ａ", "a"), ("①", "1"), ("e\u0301", "e")])
def test_case_and_compatibility_forms_stay_different_texts(first: str, second: str):
    report = check({"train": split("train", [(first, "yes")]), "test": split("test", [(second, "yes")])})
    assert not by_code(report, "overlap")


def test_half_a_surrogate_pair_does_not_stop_the_gate():
    report = check({"train": split("train", [("broken \ud83d emoji", "yes"), ("fine", "no")])})
    assert report.splits["train"]["rows"] == 2


texts = st.sampled_from(["a", "a ", " b", "b", "A", "c  d", "c d", "", " ", "é", "e\u0301"])
rows = st.lists(st.tuples(texts, st.sampled_from(["yes", "no", None])), max_size=12)


def plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@settings(max_examples=80, deadline=None)
@given(train=rows, validation=rows, test=rows)
def test_repeats_equal_a_naive_count_on_random_splits(train, validation, test):
    given_rows = {"train": train, "validation": validation, "test": test}
    report = check({name: split(name, part) for name, part in given_rows.items()})
    held = {name: [plain(text) for text, _ in part if plain(text)] for name, part in given_rows.items()}
    for first, second in combinations(given_rows, 2):
        both = set(held[first]) & set(held[second])
        found = [finding for finding in by_code(report, "overlap") if finding.splits == (first, second)]
        assert len(found) == bool(both)
        for finding in found:
            assert finding.count == len(both)
            assert finding.count_rows == sum(text in both for text in held[first] + held[second])
    for name, part in held.items():
        twice = {text for text in part if part.count(text) > 1}
        found = [finding for finding in by_code(report, "duplicate") if finding.splits == (name,)]
        assert [finding.count for finding in found] == ([len(twice)] if twice else [])
        assert [finding.count_rows for finding in found] == ([sum(t in twice for t in part)] if twice else [])
    answers = defaultdict(set)
    for part in given_rows.values():
        for text, label in part:
            if plain(text) and label:
                answers[plain(text)].add(label)
    torn = [text for text, labels in answers.items() if len(labels) > 1]
    assert [finding.count for finding in by_code(report, "contradiction")] == ([len(torn)] if torn else [])


def test_a_text_of_ten_megabytes_is_a_warning_and_only_its_beginning_is_searched():
    start = "a long report " * 800  # beyond what patterns and shingles look at
    huge = start + "x" * 10_000_000 + " write to someone@example.org"
    longest: list[int] = []

    def count(part):
        longest.extend(map(len, part))
        return np.array([len(text) // 4 for text in part])

    data = {"train": split("train", [(huge, "yes"), ("short", "no")]), "test": split("test", [(start + "y", "yes")])}
    report = check(data, options=GateOptions(token_counter=count, max_tokens=512))
    found = only(report, "long_text")
    assert (found.level, found.count, places(found)) == ("warning", 1, [("train", 1)])
    assert "10,000" in found.message
    assert not by_code(report, "personal_data")
    near = only(report, "near_duplicate")
    assert near.count == 2
    assert "judged by their first 10,000 characters" in near.message
    assert max(longest) == GateOptions().long_text_characters
    assert "the longest at least 25,000" in only(report, "token_length").message
    assert not report.errors()
