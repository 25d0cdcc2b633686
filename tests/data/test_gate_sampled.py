"""Token lengths and label noise: what the callables get, what is reported, the stratified sample."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.test_gate import by_code, only, places, split

from adjudge.core.errors import WorkError
from adjudge.data.checks.sampled import stratified_sample, suspects
from adjudge.data.gate import GateOptions, check


def words(texts):
    return np.array([len(text.split()) for text in texts])


LENGTHS = [("one", "yes"), ("one two", "no"), ("one two three", "yes"), ("one two three four", "no")]


def test_token_lengths_and_the_share_that_would_be_truncated():
    options = GateOptions(token_counter=words, max_tokens=2, model="tiny")
    found = only(check({"train": split("train", LENGTHS)}, options=options), "token_length")
    assert (found.level, found.count, places(found)) == ("warning", 2, [("train", 3), ("train", 4)])
    assert found.message.startswith("2 rows (50.0%) are longer than the 2 tokens that tiny reads")
    assert "the longest 4" in found.message


@pytest.mark.parametrize("limit", [4, None])
def test_lengths_within_the_limit_are_a_note(limit: int | None):
    options = GateOptions(token_counter=words, max_tokens=limit)
    found = only(check({"train": split("train", LENGTHS)}, options=options), "token_length")
    assert (found.level, found.count, found.splits) == ("note", 0, ("train",))


def test_without_callables_neither_tokens_nor_noise_are_reported():
    report = check({"train": split("train", LENGTHS)})
    assert not by_code(report, "token_length") + by_code(report, "label_noise")


def test_above_the_sample_size_a_stratified_sample_is_counted_and_said():
    seen: list[str] = []

    def count(texts):
        seen.extend(texts)
        return words(texts)

    rows = [(f"text {i}", "yes" if i % 10 else "no") for i in range(300)]
    options = GateOptions(token_counter=count, max_tokens=1, sample_rows=100)
    found = only(check({"train": split("train", rows)}, options=options), "token_length")
    assert len(seen) == 100
    assert "in a sample of 100 of 300 rows, stratified by split and label" in found.message
    rare = {f"text {i}" for i in range(0, 300, 10)}
    assert 9 <= len(rare & set(seen)) <= 11


def test_stratified_sample_keeps_shares_to_within_one_row_and_draws_without_repeats():
    strata = np.repeat(np.arange(4), [700, 200, 90, 10])
    for seed in range(20):
        at = stratified_sample(strata, 100, np.random.default_rng(seed))
        assert len(np.unique(at)) == 100
        assert np.abs(np.bincount(strata[at], minlength=4) - [70, 20, 9, 1]).max() <= 1


def test_every_row_of_a_stratum_can_be_drawn():
    strata = np.zeros(30, dtype=np.int64)
    drawn = {int(i) for seed in range(60) for i in stratified_sample(strata, 10, np.random.default_rng(seed))}
    assert drawn == set(range(30))


def by_word(texts, labels, classes):
    """A predictor that reads the class off the text and never sees the labels."""
    del labels
    right = np.array([int(text.split()[-1]) for text in texts])
    sure = np.array([0.6 + 0.3 * (len(text) % 5) / 5 for text in texts])
    probs = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probs[np.arange(len(texts)), right] = sure
    return probs.astype(np.float32)


def test_label_noise_finds_flipped_labels_ranked_by_suspicion():
    rows = [(f"{'x' * (1 + i % 9)} {i % 3}", "abc"[i % 3]) for i in range(300)]
    flipped = list(range(20, 300, 20))
    for i in flipped:
        rows[i] = (rows[i][0], "abc"[(i + 1) % 3])
    # A row is suspect only where its true class is at least as sure as on average: make the flipped ones sure.
    rows = [(f"{'y' * 2} {i % 3}" if i in flipped else text, label) for i, (text, label) in enumerate(rows)]
    found = only(check({"train": split("train", rows)}, options=GateOptions(out_of_fold=by_word)), "label_noise")
    assert found.level == "note"
    assert found.message.endswith("Looked at: 300 rows of 3 labels.")
    assert {row - 1 for _, row in places(found)} == set(flipped)


def test_suspects_by_hand_ranks_the_widest_margin_first():
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.95, 0.05], [0.2, 0.8], [0.4, 0.6], [0.85, 0.15]], dtype=np.float32)
    given = np.array([0, 0, 1, 1, 1, 1])
    # mean of p(0) over rows labelled 0: 0.8; rows 2 and 5 reach it and are labelled 1
    at, margin = suspects(probs, given)
    assert at.tolist() == [2, 5]
    assert margin == pytest.approx([0.9, 0.7], abs=1e-6)


def test_label_noise_lists_the_most_suspicious_row_first():
    sure = {"weak 0": 0.8, "strong 0": 0.99}

    def predict(texts, labels, classes):
        del labels
        probs = np.array([[sure.get(text, 0.7), 1 - sure.get(text, 0.7)] for text in texts])
        own = np.array([text.endswith("0") for text in texts])
        assert classes == 2
        return np.where(own[:, None], probs, probs[:, ::-1]).astype(np.float32)

    rows = [(f"plain {i} {i % 2}", "ab"[i % 2]) for i in range(60)] + [("weak 0", "b"), ("strong 0", "b"), ("x", "c")]
    found = only(check({"train": split("train", rows)}, options=GateOptions(out_of_fold=predict)), "label_noise")
    assert places(found) == [("train", 62), ("train", 61)]
    assert found.message.endswith("Looked at: 62 rows of 2 labels; 1 label with fewer than 5 rows there left out.")


def test_empty_texts_unlabelled_rows_and_classes_too_small_to_fold_are_left_out_of_label_noise():
    given_texts: list[str] = []

    def predict(texts, labels, classes):
        given_texts.extend(texts)
        assert classes == 2
        assert set(labels.tolist()) == {0, 1}
        return np.eye(2, dtype=np.float32)[labels]

    rows = [(f"t{i}", "ab"[i % 2]) for i in range(12)] + [("", "a"), ("u", None), ("r", "rare")]
    report = check({"train": split("train", rows)}, options=GateOptions(out_of_fold=predict))
    assert given_texts == [f"t{i}" for i in range(12)]
    assert not by_code(report, "label_noise")


def test_a_baseline_that_gives_nan_stops_the_work_instead_of_hiding_it():
    def broken(texts, labels, classes):
        del labels
        return np.full((len(texts), classes), np.nan, dtype=np.float32)

    rows = [(f"t{i}", "ab"[i % 2]) for i in range(12)]
    with pytest.raises(WorkError, match="label_noise"):
        check({"train": split("train", rows)}, options=GateOptions(out_of_fold=broken))
