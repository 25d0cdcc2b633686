"""Near duplicates: the threshold is exact, the banding finds what it promises, shingles never collide."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.test_gate import by_code, only, places, split

from adjudge.data.checks import near, twins
from adjudge.data.gate import Finding, GateOptions, Report, check


def similarity(first: str, second: str) -> float:
    return near.jaccard(near.shingle_set(first), near.shingle_set(second))


def near_rows(first: str, second: str, threshold: float) -> int:
    data = {
        "train": split("train", [(first, "yes"), ("something else", "no")]),
        "test": split("test", [(second, "yes")]),
    }
    report = check(data, options=GateOptions(near_duplicate_threshold=threshold))
    return sum(found.count_rows for found in near_findings(report))


def near_findings(report: Report) -> list[Finding]:
    return [*by_code(report, "near_duplicate"), *by_code(report, "similar_wording")]


def test_jaccard_of_shingles_by_hand():
    # abcd: abc bcd; bcde: bcd cde -> 1 common of 3
    assert similarity("abcd", "bcde") == pytest.approx(1 / 3)
    assert similarity("ab", "ab") == 1
    assert similarity("ab", "abc") == 0


def test_a_pair_is_reported_at_its_exact_similarity_and_never_just_above():
    rng = np.random.default_rng(3)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    found = 0
    for changed in range(4, 104, 5):  # similarities from 0.97 down to 0.5
        first = "".join(rng.choice(letters, 300))
        second = "".join(rng.choice(letters, changed)) + first[changed:]
        exact = similarity(first, second)
        assert near_rows(first, second, exact + 1e-9) == 0
        found += near_rows(first, second, exact - 1e-9) == 2
    assert found >= 16  # of 20, each proposed with a probability of at least 0.95


def test_only_case_differs_is_near_and_equal_texts_are_not():
    rows = [("Thank you for calling", "yes"), ("thank you for CALLING", "yes"), ("bye", "no"), ("bye", "no")]
    found = only(check({"train": split("train", rows)}), "near_duplicate")
    assert (found.level, found.splits, found.count, found.count_rows) == ("warning", ("train",), 2, 2)
    assert places(found) == [("train", 1), ("train", 2)]
    assert "at least 90% of the words are equal" in found.message


def test_each_split_and_each_pair_of_splits_has_its_own_finding():
    base = "the delivery came late and the box was damaged on one side"
    data = {
        "train": split("train", [(base, "no"), (base + "!", "no"), ("fully unrelated words", "yes")]),
        "validation": split("validation", [("nothing in common here", "yes")]),
        "test": split("test", [(base + "?", "no")]),
    }
    found = by_code(check(data), "near_duplicate")
    assert [(f.splits, f.count) for f in found] == [(("train",), 2), (("train", "test"), 3)]
    assert places(found[1]) == [("train", 1), ("train", 2), ("test", 1)]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.95, 1.0])
def test_bands_keep_the_promised_recall_at_the_threshold(threshold: float):
    bands, size = near.bands_for(threshold)
    assert 1 - (1 - threshold**size) ** bands >= near.RECALL


CARD = "how do I get the new card to work"


def test_paraphrases_are_a_note_to_keep_and_copies_a_warning_to_remove():
    train = [(CARD, "card"), ("where is the nearest branch to my office in town", "place")]
    changed = [("how do I get the old card to work", "card"), ("how do I get the new car to work", "car")]
    test = [*changed, ("How do I get the new card, to work?", "card"), ("where is the nearest bank", "place")]
    report = check({"train": split("train", train), "test": split("test", test)})
    copy, alike = only(report, "near_duplicate"), by_code(report, "similar_wording")
    assert (copy.level, places(copy)) == ("warning", [("train", 1), ("test", 3)])
    assert "remove them from one of the two" in copy.message
    assert "different labels" not in copy.message
    assert copy.to_json()["pairs"] == [
        {
            "rows": [{"split": "train", "row": 1}, {"split": "test", "row": 3}],
            "equal_words": 1.0,
            "same_label": True,
        }
    ]
    across = next(found for found in alike if found.splits == ("train", "test"))
    assert (across.level, places(across)) == ("note", [("train", 1), ("test", 1), ("test", 2)])
    assert "1 of 2 pairs have the same label" in across.message
    assert "keep them, and look at a few pairs" in across.message
    assert [(pair["equal_words"], pair["same_label"]) for pair in across.pairs] == [(0.889, True), (0.889, False)]


def test_copies_with_different_labels_are_to_be_looked_at_first():
    words = "the parcel came late and the box was damaged on one side again"
    data = {
        "train": split("train", [(words, "no"), ("other text", "yes")]),
        "test": split("test", [(words + "!", "yes")]),
    }
    found = only(check(data), "near_duplicate")
    assert "1 of 1 pair has different labels: look at those first" in found.message
    assert found.pairs[0]["same_label"] is False


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("a b c d e f g h i j", "a b c d e f g h i x", True),
        ("a b c d e f g h i", "a b c d e f g h x", False),
        ("Thank you!", "thank, you", True),
        (" ".join(f"w{i}" for i in range(30)), " ".join(f"w{i if i % 5 else 99 + i}" for i in range(30)), True),
        (" ".join(f"w{i}" for i in range(29)), " ".join(f"w{i if i % 5 else 99 + i}" for i in range(29)), False),
        ("我们昨天去了北京故宫博物院参观", "我们昨天去了北京故宫博物院参加", True),
        ("我们去北京", "我们去上海", False),
        ("x" * 40, "x" * 38 + "yy", True),
        ("🙂🙂", "🙂", False),
    ],
)
def test_a_copy_is_told_by_its_share_of_equal_words(first: str, second: str, kind: bool):
    assert twins.is_copy(twins.words(first), twins.words(second), 0.9) is kind


def test_a_copy_is_found_among_many_paraphrases():
    lines = [f"how do I activate my {adjective} card" for adjective in ("new", "old", "blue", "first", "lost", "own")]
    data = {
        "train": split("train", [(line, "card") for line in lines]),
        "test": split("test", [(lines[3] + "!", "card")]),
    }
    report = check(data)
    assert places(only(report, "near_duplicate")) == [("train", 4), ("test", 1)]


def planted(count: int, changes: int) -> tuple[list[str], list[str]]:
    """Texts of 20 words, and copies in which some words are replaced by others."""
    rng = np.random.default_rng(changes)
    letters = np.array(list("aeioubcdfglmnprst"))
    words = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 9, size=3_000)], dtype=object)
    lines = rng.integers(len(words), size=(count, 20))
    copies = lines.copy()
    for line in copies:
        line[rng.choice(20, changes, replace=False)] = rng.integers(len(words), size=changes)
    return [" ".join(words[line]) for line in lines], [" ".join(words[line]) for line in copies]


@pytest.mark.parametrize("changes", [1, 2])
def test_recall_on_planted_pairs_with_one_or_two_of_twenty_words_changed(changes: int):
    originals, copies = planted(400, changes)
    data = {
        "train": split("train", [(text, "yes") for text in originals]),
        "test": split("test", [(text, "yes") for text in copies]),
    }
    found = only(check(data), "near_duplicate")
    assert found.splits == ("train", "test")
    assert found.count_rows >= 0.95 * 800


def test_nothing_near_is_reported_that_exact_comparison_of_all_pairs_denies():
    originals, copies = planted(60, 3)
    texts = originals + copies
    found = near_findings(check({"train": split("train", [(text, "yes") for text in texts])}))
    alike = {i + 1 for i, a in enumerate(texts) for j, b in enumerate(texts) if i != j and similarity(a, b) >= 0.7}
    reported = {row for finding in found for _, row in places(finding)}
    assert reported <= alike
    assert len(reported) >= 0.9 * len(alike) > 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6))
def test_shingle_hashes_are_one_to_one_with_shingles_in_any_script(texts: list[str]):
    texts = [text for text in texts if text.isprintable() and "\0" not in text] or ["สวัสดี"]
    ((start, hashes, offsets),) = near._shingle_hashes(pl.Series(texts))
    assert start == 0
    sets = [set(hashes[a:b].tolist()) for a, b in pairwise(offsets.tolist())]
    for i, first in enumerate(texts):
        for j, second in enumerate(texts):
            common = near.shingle_set(first) & near.shingle_set(second)
            assert len(sets[i] & sets[j]) == len(common)


def test_chunks_cover_every_text_once(monkeypatch: pytest.MonkeyPatch):
    texts = pl.Series([f"text number {i}" for i in range(50)])
    ((_, whole, offsets),) = near._shingle_hashes(texts)
    monkeypatch.setattr(near, "_CHUNK_CHARACTERS", 100)
    chunks = list(near._shingle_hashes(texts))
    assert len(chunks) > 3
    assert np.array_equal(np.concatenate([hashes for _, hashes, _ in chunks]), whole)
    assert sum(len(part) - 1 for *_, part in chunks) == len(offsets) - 1


def test_a_search_that_stops_early_says_that_its_count_is_a_lower_bound(monkeypatch: pytest.MonkeyPatch):
    rows = [(f"your order {i:06d} has been shipped today and will arrive soon", "yes") for i in range(200)]
    complete = only(check({"train": split("train", rows)}), "near_duplicate")
    assert complete.count == 200
    assert "at least 200" not in complete.message
    monkeypatch.setattr(near, "_BUDGET_SHINGLES", 2_000)
    found = only(check({"train": split("train", rows)}), "near_duplicate")
    assert 0 < found.count < 200
    assert found.message.startswith(f"at least {found.count} texts")
    assert "stopped early" in found.message
