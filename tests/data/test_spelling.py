"""Labels that people read as one: folded together, and told apart character by character."""

from __future__ import annotations

import pytest
import yaml

from adjudge.data.spelling import difference, fold, is_clean, quoted, variants


@pytest.mark.parametrize(
    ("label", "other", "said"),
    [
        ("Neg", "neg", "case"),
        ("neg\u200b", "neg", "U+200B ZERO WIDTH SPACE at the end"),
        ("\ufeffneg", "neg", "U+FEFF ZERO WIDTH NO-BREAK SPACE at the start"),
        ("ne\u00adg", "neg", "U+00AD SOFT HYPHEN in place 3"),
        ("neg ", "neg", "U+0020 SPACE at the end"),
        ("neg", "neg ", "a missing U+0020 SPACE at the end"),
        ("a\u00a0b", "a b", "U+00A0 NO-BREAK SPACE for U+0020 SPACE"),
        ("not-spam", "not_spam", "U+002D HYPHEN-MINUS for U+005F LOW LINE"),
        ("Not Spam", "not_spam", "case, U+0020 SPACE for U+005F LOW LINE"),
        ("1.0", "1", "U+002E FULL STOP + U+0030 DIGIT ZERO at the end"),
        ("01", "1", "U+0030 DIGIT ZERO at the start"),
        ("e\u0301", "\u00e9", "U+0065 LATIN SMALL LETTER E + U+0301 COMBINING ACUTE ACCENT for U+00E9"),
        ("１", "1", "U+FF11 FULLWIDTH DIGIT ONE for U+0031 DIGIT ONE"),
        ("pоs", "pos", "U+043E CYRILLIC SMALL LETTER O for U+006F LATIN SMALL LETTER O"),
        ("'pos'", "pos", "U+0027 APOSTROPHE at the start, U+0027 APOSTROPHE at the end"),
        ("don\u2019t", "don't", "U+2019 RIGHT SINGLE QUOTATION MARK for U+0027 APOSTROPHE"),
        ("STRASSE", "straße", "case"),
    ],
)
def test_labels_that_people_read_as_one_fold_together_and_their_difference_is_named(label, other, said):
    assert fold(label) == fold(other)
    assert difference(label, other).startswith(said)
    assert variants([other, "x", label]) == [[other, label]]


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("1", "-1"),
        ("A", "A-"),
        ("A", "A+"),
        ("C", "C++"),
        ("resume", "résumé"),
        ("1", "1.5"),
        ("a b", "ab"),
        ("x", "y"),
    ],
)
def test_labels_that_differ_in_sense_stay_apart(label, other):
    assert fold(label) != fold(other)
    assert not variants([label, other])


@pytest.mark.parametrize("label", ["neg\u200b", "e\u0301", "déçu", "a: b", '"x"', "no", "1e5", "-1"])
def test_a_quoted_label_is_itself_in_yaml_and_shows_what_is_there(label):
    assert yaml.safe_load(f"{{{quoted(label)}: null}}") == {label: None}
    assert quoted(label).isprintable()


def test_the_ordinary_way_to_write_a_label():
    assert all(map(is_clean, ["neg", "déçu", "Not Spam", "1.0"]))
    assert not any(map(is_clean, ["neg ", "neg\u200b", "e\u0301"]))
