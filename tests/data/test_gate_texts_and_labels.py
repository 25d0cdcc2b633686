"""Checks of single rows: damaged or empty texts, personal data, labels and class sizes."""

from __future__ import annotations

import pytest
from tests.data.test_gate import by_code, only, places, split

from adjudge.core.problem import Problem
from adjudge.data.gate import Finding, GateOptions, Report, check

FINE = [("a plain text", "yes"), ("another one", "no")]


def found_in(text: str, code: str) -> list[Finding]:
    return by_code(check({"train": split("train", [*FINE, (text, "yes")])}), code)


@pytest.mark.parametrize("text", ["", " \t\n", "\u3000\u00a0", "\u200b\ufeff", "\x07"])
def test_empty_and_invisible_texts_are_errors_and_no_repeats(text: str):
    rows = [(text, "yes"), (text, "no"), *FINE]
    report = check({"train": split("train", rows), "test": split("test", [(text, "yes")])})
    train, test = by_code(report, "empty_text")
    assert (train.level, train.count, train.count_rows, places(train)) == ("error", 1, 2, [("train", 1), ("train", 2)])
    assert (test.splits, test.count_rows) == (("test",), 1)
    for code in ("duplicate", "overlap", "contradiction", "near_duplicate"):
        assert not by_code(report, code)


@pytest.mark.parametrize(
    "text",
    [
        "un caf\u00e9 bien chaud".encode().decode("latin-1"),
        "un caf\u00e9 bien chaud".encode().decode("cp1252"),
        "it\u2019s".encode().decode("cp1252"),
        "it\u2019s".encode().decode("latin-1"),
        "so 😀".encode().decode("cp1252"),
        "привет".encode().decode("latin-1"),
        "被告人故意伤害".encode("gb18030").decode("latin-1"),
        "привет мир".encode("cp1251").decode("latin-1"),
        b"caf\xe9".decode("utf-8", "replace"),
        "\ufeffid".encode().decode("latin-1"),
        "a\ufffdb".encode().decode("latin-1"),
    ],
)
def test_texts_decoded_wrongly_are_found(text: str):
    (found,) = found_in(text, "encoding")
    assert (found.level, found.count, places(found)) == ("warning", 1, [("train", 3)])


@pytest.mark.parametrize(
    "text",
    [
        "naïve café, señor, Übergröße, NÃO, São João, âge, Ça va",
        "《刑法》××××××的规定",
        "nooooééééééé",
        "привет, สวัสดี, 你好, 안녕, 😀",
        "‘quoted’ – “text” … €5",
    ],
)
def test_healthy_texts_with_accents_are_no_encoding_finding(text: str):
    assert found_in(text, "encoding") == []


@pytest.mark.parametrize("text", ["it&#039;s", "you &amp; me", "&quot;so&quot;", "&#x27;", "a&nbsp;b"])
def test_html_entities_are_found(text: str):
    (found,) = found_in(text, "html_entities")
    assert (found.level, found.count_rows) == ("warning", 1)


@pytest.mark.parametrize("text", ["salt & pepper; more", "AT&T; sure &", "a && b;", "&nosuchentity;"])
def test_plain_ampersands_are_no_entities(text: str):
    assert found_in(text, "html_entities") == []


@pytest.mark.parametrize(
    "text",
    [
        "mail jane.doe+x@mail.example.co.uk today",
        "call +914044621160",
        "call 617-262-2220 now",
        "Tel (089) 1234-5678",
        "电话13341015518",
        "tel. 088 888 8888",
    ],
)
def test_hints_of_personal_data_are_a_note(text: str):
    (found,) = found_in(text, "personal_data")
    assert (found.level, found.count) == ("note", 1)


@pytest.mark.parametrize(
    "text",
    [
        "@someone hi",
        "on 2024-05-17",
        "17/05/2024",
        "costs 1,234,567.89",
        "order 20931847562",
        "2010-2011",
        "a @ b.com",
    ],
)
def test_dates_amounts_ids_and_handles_are_no_personal_data(text: str):
    assert found_in(text, "personal_data") == []


def test_missing_and_blank_labels_are_errors():
    rows = [("one", None), ("two", " "), ("three", "yes"), ("four", "no")]
    found = only(check({"train": split("train", rows)}), "missing_label")
    assert (found.level, found.count, places(found)) == ("error", 2, [("train", 1), ("train", 2)])


def test_a_label_that_train_lacks_is_unknown_in_the_other_splits():
    data = {"train": split("train", FINE), "test": split("test", [("x", "yes"), ("y", "yess"), ("z", "yess")])}
    found = only(check(data), "unknown_label")
    assert (found.level, found.splits, found.count) == ("error", ("test",), 2)
    assert places(found) == [("test", 2), ("test", 3)]
    assert "'yess' is near 'yes'" in found.message


def test_the_label_set_given_decides_what_is_unknown_and_missing():
    report = check({"train": split("train", FINE)}, labels=["yes", "maybe"])
    assert places(only(report, "unknown_label")) == [("train", 2)]
    missing = only(report, "missing_class")
    assert (missing.level, missing.splits, missing.count, missing.rows) == ("warning", ("train",), 0, ())
    assert "'maybe'" in missing.message


def test_labels_that_people_read_as_one_name_the_rarer_spellings():
    rows = [("a", "joy"), ("b", "joy"), ("c", "Joy"), ("d", "joy "), ("e", "fear"), ("f", "Ｊoy")]
    found = only(check({"train": split("train", rows)}), "label_variants")
    assert (found.level, found.count, places(found)) == ("warning", 3, [("train", row) for row in (3, 4, 6)])
    assert '"Joy" differs from "joy" by case; "Ｊoy" differs from "joy" by U+FF2A' in found.message
    assert '"joy " differs from "joy" by U+0020 SPACE at the end' in found.message
    assert 'label_map: {"Joy": "joy", "Ｊoy": "joy", "joy ": "joy"}' in found.message


def test_the_label_set_says_which_spelling_is_the_main_one():
    rows = [("a", "not-spam"), ("b", "not-spam"), ("c", "not_spam"), ("d", "spam")]
    report = check({"train": split("train", rows)}, labels=["not_spam", "spam"])
    assert places(only(report, "label_variants")) == [("train", 1), ("train", 2)]
    said = only(report, "unknown_label").message
    assert '"not-spam" differs from "not_spam" by U+002D HYPHEN-MINUS for U+005F LOW LINE' in said


@pytest.mark.parametrize(
    ("names", "rest", "found"),
    [
        (["abstain", "N/A"], ["spam", "ham"], ["abstain", "N/A"]),
        (["-1"], ["0", "1"], ["-1"]),
        ([], ["-1.5", "0"], []),
        ([], ["-1", "low"], []),
        ([], ["nothing", "other"], []),
    ],
)
def test_words_that_may_mean_that_there_is_no_label_are_a_note(names, rest, found):
    rows = [(f"text {i}", label) for i, label in enumerate([*names, *rest])]
    report = check({"train": split("train", rows)})
    notes = by_code(report, "placeholder_label")
    assert [note.level for note in notes] == ["note"] * bool(found)
    assert all(f'"{name}": null' in note.message for note in notes for name in found)
    assert sum(note.count for note in notes) == len(found)


def test_labels_in_two_spellings_do_not_contradict_each_other():
    rows = [("same", "joy"), ("same", "Joy"), ("other", "fear")]
    assert not by_code(check({"train": split("train", rows)}), "contradiction")


def sized(yes: int, no: int) -> Report:
    rows = [(f"text {i}", "yes") for i in range(yes)] + [(f"word {i}", "no") for i in range(no)]
    return check({"train": split("train", rows)}, options=GateOptions(min_class_rows=5, imbalance_ratio=3))


def test_a_class_is_small_below_the_limit_and_not_at_it():
    found = only(sized(4, 5), "small_class")
    assert (found.level, found.count, places(found)) == ("warning", 4, [("train", i) for i in range(1, 5)])
    assert "'yes': 4" in found.message
    assert not by_code(sized(5, 5), "small_class")


def test_imbalance_is_reported_from_its_ratio_on():
    found = only(sized(15, 5), "imbalance")
    assert (found.level, found.count) == ("note", 5)
    assert "3.0 times" in found.message
    assert not by_code(sized(14, 5), "imbalance")


def test_a_class_that_a_split_lacks_is_named():
    data = {"train": split("train", FINE), "validation": split("validation", [("v", "yes")])}
    found = only(check(data), "missing_class")
    assert found.splits == ("validation",)
    assert "'no'" in found.message


SEVERAL = Problem(kind="multi_label")


def test_a_row_counts_for_each_of_its_labels():
    rows = [(f"text number {i} about {'x' * i}", "a|b" if i % 2 else "a") for i in range(8)]
    rows += [("nothing of it applies", "(none)"), ("nobody looked at this", None)]
    report = check({"train": split("train", rows)}, labels=("a", "b", "c"), problem=SEVERAL)
    assert report.splits["train"]["labels"] == {"a": 8, "b": 4}
    assert places(only(report, "missing_label")) == [("train", 10)]
    assert "'c'" in only(report, "missing_class").message
    assert only(report, "small_class").count_rows == 8


def test_unknown_labels_are_found_inside_sets():
    rows = [("first text here", "a|b"), ("second one there", "b|nope"), ("third of them", "nope|other")]
    found = only(check({"train": split("train", rows)}, labels=("a", "b"), problem=SEVERAL), "unknown_label")
    assert places(found) == [("train", 2), ("train", 3)]
    assert "'nope', 'other'" in found.message


def test_one_text_with_two_sets_is_a_contradiction_and_with_the_same_set_is_none():
    rows = [("same text", "a|b"), ("same  text", "b"), ("other text", "a|b"), ("other text", "A|b")]
    report = check({"train": split("train", rows)}, problem=SEVERAL)
    assert places(only(report, "contradiction")) == [("train", 1), ("train", 2)]
    assert '"A" differs from "a" by case' in only(report, "label_variants").message
    assert places(only(report, "label_variants")) == [("train", 4)]


def test_wrong_labels_are_not_looked_for_where_a_text_may_have_several():
    rows = [(f"text number {i} about {'x' * i}", "a|b" if i % 2 else "a") for i in range(20)]

    def never(*_: object) -> None:
        raise AssertionError

    report = check({"train": split("train", rows)}, options=GateOptions(out_of_fold=never), problem=SEVERAL)
    assert not by_code(report, "label_noise")
