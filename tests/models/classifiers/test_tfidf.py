from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from adjudge.core.errors import DataError
from adjudge.models.classifiers.linear import Linear
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.classifiers.tfidf import WORD, NgramFeatures, NgramOptions, TfidfClassifier, chunks

TEXTS = ["The cat sat on the mat", "a dog, a DOG!", "the dog sat", "", "кот сидел 🎉", "cat\nand dog"]


def built(texts: list[str] = TEXTS, max_chars: int = 1000, **options: object) -> TfidfClassifier:
    readings = [NgramOptions("word", 1, 2), NgramOptions(options.get("characters", "char_wb"), 2, 3)]  # type: ignore[arg-type]
    families = [found[0] for reading in readings if (found := NgramFeatures.fit(reading, texts, 1, None))]
    width = sum(len(family.terms) for family in families)
    generator = np.random.default_rng(0)
    linear = Linear(generator.normal(size=(3, width)).astype(np.float32), np.zeros(3, dtype=np.float32))
    return TfidfClassifier(("x", "y", "z"), families, linear, max_chars)


@pytest.mark.parametrize("sublinear", [True, False])
@pytest.mark.parametrize(("analyzer", "lengths"), [("word", (1, 2)), ("char_wb", (2, 4)), ("char", (1, 3))])
def test_features_are_those_of_scikit_learn(analyzer: str, lengths: tuple[int, int], sublinear: bool) -> None:
    reference = TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=lengths,
        sublinear_tf=sublinear,
        min_df=2,
        token_pattern=WORD if analyzer == "word" else None,
    )
    expected = reference.fit_transform(TEXTS)
    found = NgramFeatures.fit(NgramOptions(analyzer, *lengths, sublinear=sublinear), TEXTS, 2, None)  # type: ignore[arg-type]
    assert found is not None
    family, features = found
    assert family.terms == reference.get_feature_names_out().tolist()
    np.testing.assert_allclose(features.toarray(), expected.toarray(), rtol=1e-5, atol=1e-7)
    unseen = ["the cat and the bird", "nothing"]
    np.testing.assert_allclose(
        family.features(unseen).toarray(), reference.transform(unseen).toarray(), rtol=1e-5, atol=1e-7
    )


def test_features_of_train_are_the_same_when_read_again() -> None:
    found = NgramFeatures.fit(NgramOptions("char_wb", 1, 3), TEXTS, 1, 20)
    assert found is not None
    assert (found[0].features(TEXTS) != found[1]).nnz == 0
    assert len(found[0].terms) == 20


def test_rare_ngrams_are_kept_where_there_are_no_others_and_no_ngram_gives_no_family() -> None:
    found = NgramFeatures.fit(NgramOptions("word", 1, 1), ["one", "two"], 2, None)
    assert found is not None
    assert found[0].terms == ["one", "two"]
    assert NgramFeatures.fit(NgramOptions("word", 1, 1), ["", "!!", "🎉"], 2, None) is None


def test_loaded_classifier_predicts_the_same_bits(tmp_path: Path) -> None:
    classifier = built([*TEXTS, 'quotes " and \\ and \u2028 lines', "half \ud83c of a pair"])
    classifier.temperature = 0.6
    classifier.save(tmp_path / "model")
    loaded = load_classifier(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "arrays.safetensors",
        "classifier.json",
        "vocabulary.json",
    }


def test_a_vocabulary_that_does_not_fit_the_arrays_is_refused(tmp_path: Path) -> None:
    built().save(tmp_path / "model")
    file = tmp_path / "model" / "vocabulary.json"
    vocabulary = json.loads(file.read_text())
    vocabulary[0].pop()
    file.write_text(json.dumps(vocabulary))
    with pytest.raises(DataError, match="do not fit each other"):
        load_classifier(tmp_path / "model")


def test_only_the_first_characters_are_read_and_longer_texts_are_reported() -> None:
    classifier = built(max_chars=10)
    long, short = "the cat sa" + " dog" * 50, "the cat sa"
    np.testing.assert_array_equal(classifier.predict_logits([long]), classifier.predict_logits([short]))
    tokens, truncated = classifier.count_tokens([long, short])
    assert tokens.tolist() == [53, 3]
    assert truncated.tolist() == [True, False]


def test_tokens_are_characters_where_characters_are_read_across_words() -> None:
    assert built(characters="char").count_tokens(["很 喜欢"])[0].tolist() == [3]


def test_ten_megabytes_of_text_take_a_bounded_amount_of_memory() -> None:
    classifier = built(max_chars=100_000)
    text = "the cat sat on a mat " * 500_000
    tracemalloc.start()
    classifier.predict_logits([text])
    classifier.count_tokens(["cat " * 1000])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


def test_chunks_cover_every_text_once_and_stay_small() -> None:
    texts = [str(i) * 3 for i in range(5000)] + ["x" * 3_000_000] * 3
    found = list(chunks(texts, 2_000_000))
    assert [text for _, part in found for text in part] == [text[:2_000_000] for text in texts]
    assert [start for start, _ in found] == list(np.cumsum([0] + [len(part) for _, part in found[:-1]]))
    assert max(len(part) for _, part in found) <= 2048
    assert max(sum(map(len, part)) for _, part in found) < 6_000_000
    assert list(chunks([], 10)) == []
