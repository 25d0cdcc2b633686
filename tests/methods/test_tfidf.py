from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError, DataError
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import Fitted, Setting, tfidf
from adjudge.methods.tfidf import METHOD, TfidfConfig, frequent, out_of_fold, stratified_folds, whitespace_share
from adjudge.models.classifiers.tfidf import NgramFeatures, NgramOptions, inverse_frequency, weighted

WORDS = {"good": ["lovely", "great", "fine", "happy"], "bad": ["awful", "broken", "sad", "angry"]}


def reviews(rows: int, name: str = "train", seed: int = 0) -> Split:
    generator = np.random.default_rng(seed)
    labels = [["good", "bad"][i] for i in generator.integers(0, 2, rows)]
    texts = [f"the {generator.choice(WORDS[label])} thing {generator.integers(0, 9)}" for label in labels]
    return Split(name, texts, labels, [f"{name}{i}" for i in range(rows)], source=f"{name}.csv")


def fit(
    train: Split, validation: Split | None = None, labels: tuple[str, ...] = ("good", "bad"), **options: Any
) -> Fitted:
    config = validate(TfidfConfig, options, "recipe")
    return METHOD.fit(train, validation or reviews(40, "validation", 1), config, Setting(Task(name="t"), labels))


def test_it_learns_and_reports_what_it_chose() -> None:
    fitted, test = fit(reviews(200)), reviews(100, "test", 2)
    assert fitted.classifier.predict(test.texts) == list(test.labels)
    assert fitted.labels_used == {"train": 200, "validation": 40}
    assert fitted.facts["c"] == 0.3  # every C is right on validation, so the smallest
    assert fitted.facts["analyzers"] == ["word", "char_wb"]
    assert fitted.facts["trainable_parameters"] == 2 * (sum(fitted.facts["features"]) + 1)
    assert fitted.facts["train_tokens"] == 800


def test_given_c_uses_no_validation_label() -> None:
    hidden = Split("validation", ["a"], [None], ["v"])
    fitted = fit(reviews(50), hidden, c=2.0)
    assert fitted.labels_used == {"train": 50, "validation": 0}
    assert fitted.facts["validation_macro_f1_by_c"] == {}


def test_order_of_the_labels_only_orders_the_columns() -> None:
    train, texts = reviews(60), reviews(20, "test", 3).texts
    one = fit(train, labels=("good", "bad"), c=1.0).classifier.predict_proba(texts)
    other = fit(train, labels=("bad", "good"), c=1.0).classifier.predict_proba(texts)
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-3)


@pytest.mark.parametrize(
    ("texts", "analyzer"),
    [
        (["我非常喜欢这个产品，质量很好", "太差了，再也不买"], "char"),
        (["อาหารอร่อยมากและบริการดี", "แย่มากไม่แนะนำเลย"], "char"),
        (["очень хорошая вещь", "совсем не работает"], "char_wb"),
        (["a very good thing", "it does not work"], "char_wb"),
    ],
)
def test_characters_are_read_across_words_where_writing_has_no_spaces(texts: list[str], analyzer: str) -> None:
    train = Split("train", texts * 5, ["good", "bad"] * 5, [str(i) for i in range(10)])
    fitted = fit(train, train)
    assert fitted.facts["analyzers"][-1] == analyzer
    assert fitted.classifier.predict(texts) == ["good", "bad"]


def test_whitespace_share_by_hand() -> None:
    assert whitespace_share(["a b\n", "cd"]) == pytest.approx(2 / 6)
    assert whitespace_share(["", ""]) == 0


def test_ngrams_are_written_as_lists_and_their_problems_named_together() -> None:
    assert validate(TfidfConfig, {"word_ngrams": [1, 3], "char_ngrams": None}, "r").word_ngrams == (1, 3)
    with pytest.raises(ConfigError) as caught:
        validate(TfidfConfig, {"word_ngrams": [3, 1], "unspaced_ngrams": [0, 2], "c": -1.0, "min_dff": 2}, "r")
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="must not both be null"):
        validate(TfidfConfig, {"word_ngrams": None, "char_ngrams": None}, "r")


def test_texts_without_a_single_character_are_an_error() -> None:
    empty = Split("train", ["", "  "], ["good", "bad"], ["1", "2"], source="train.csv")
    with pytest.raises(DataError, match=r"train\.csv: no text holds"):
        fit(empty, word_ngrams=[1, 1], char_ngrams=None)


def test_out_of_fold_finds_swapped_labels() -> None:
    split = reviews(400)
    targets = np.array([["good", "bad"].index(str(label)) for label in split.labels])
    wrong = np.arange(0, 400, 40)
    targets[wrong] = 1 - targets[wrong]
    probs = out_of_fold(split.texts, targets, 2)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    given = probs[np.arange(400), targets]
    assert set(np.argsort(given)[: len(wrong)]) == set(wrong)
    np.testing.assert_array_equal(probs, out_of_fold(split.texts, targets, 2))


def test_out_of_fold_never_learns_from_the_row_itself() -> None:
    texts = [f"{i}x {i}y" for i in range(50)]  # nothing shared: only a row itself could give it away
    targets = np.arange(50) // 10 % 2  # 30 and 20
    probs = out_of_fold(texts, targets, 2)
    assert probs[np.arange(50), targets].max() < 0.7


@pytest.mark.parametrize(
    ("texts", "targets"), [([], []), (["one"], [0]), (["a b", "c d", "e f"], [0, 0, 2]), ([""] * 9, [1] * 9)]
)
def test_out_of_fold_bears_small_and_empty_input(texts: list[str], targets: list[int]) -> None:
    probs = out_of_fold(texts, np.array(targets, dtype=np.int64), 3)
    assert probs.shape == (len(texts), 3)
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)


def test_many_labels_are_judged_in_one_pass_over_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 labels × 20,000 rows took minutes of logistic regression, whose first step was then too small to go on."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    generator = np.random.default_rng(0)
    targets = np.repeat(np.arange(150), 40)
    texts = [
        " ".join([f"t{label}a", f"t{label}b", *(f"w{i}" for i in generator.integers(300, size=8))])
        for label in targets
    ]
    wrong = generator.choice(len(targets), 60, replace=False)
    given = targets.copy()
    given[wrong] = (given[wrong] + 1) % 150
    monkeypatch.setattr(tfidf, "fit_logistic", never)
    probs = out_of_fold(texts, given, 150)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs.argmax(axis=1) == targets).mean() > 0.95
    assert np.isin(np.argsort(probs[np.arange(len(given)), given])[:60], wrong).mean() > 0.9
    monkeypatch.setattr(tfidf, "MOST_PARAMETERS", 150 * 10)
    assert out_of_fold(texts, given, 150).shape == probs.shape


@pytest.mark.parametrize(("min_df", "max_features"), [(1, None), (2, None), (3, 7), (500, None)])
def test_n_grams_counted_once_are_those_that_each_fold_would_count(min_df: int, max_features: int | None) -> None:
    texts, reading = reviews(60).texts, NgramOptions("word", 1, 2)
    inside, outside = texts[:40], texts[40:]
    counter = reading.counter()
    counts = counter.fit_transform(texts)
    columns = frequent(counts[:40], min_df, max_features)
    fitted = NgramFeatures.fit(reading, inside, min_df, max_features)
    assert fitted is not None
    family, features = fitted
    assert counter.get_feature_names_out()[columns].tolist() == family.terms
    idf = inverse_frequency(counts[:40][:, columns])
    np.testing.assert_array_equal(idf, family.idf)
    for rows, expected in ((counts[:40], features), (counts[40:], family.features(outside))):
        found = weighted(rows[:, columns], idf, sublinear=True)
        np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=1e-6)


def test_folds_keep_the_share_of_each_label() -> None:
    targets = np.array([0] * 50 + [1] * 23 + [2] * 3)
    fold = stratified_folds(targets, 5)
    for label in range(3):
        counts = np.bincount(fold[targets == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(fold).tolist() == [16, 15, 15, 15, 15]
