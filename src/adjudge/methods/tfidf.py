"""TF-IDF over word and character n-grams with multinomial logistic regression: cheap, and hard to beat by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from scipy import sparse

from adjudge.core.errors import DataError
from adjudge.core.seeds import stream_generator
from adjudge.core.types import IntArray, Split
from adjudge.methods.bayes import fit_naive_bayes
from adjudge.methods.logistic import Chosen, ClassWeight, FeatureRows, choose_c, fit_logistic
from adjudge.methods.method import Fitted, Method, MethodConfig, Setting
from adjudge.methods.targets import targets_of
from adjudge.models.classifiers.linear import probabilities
from adjudge.models.classifiers.tfidf import (
    Analyzer,
    NgramFeatures,
    NgramOptions,
    TfidfClassifier,
    inverse_frequency,
    weighted,
)

GRID = (0.3, 1.0, 3.0, 10.0)
FOLDS = 5
MOST_WORK = 8_000_000
"""N-grams of all texts × labels up to which labels are judged by logistic regression."""
MOST_PARAMETERS = 20_000_000
"""Labels × features of a fold above that."""
UNSPACED_BELOW = 0.09
"""Share of white space below which writing counts as unspaced. English has 0.19, Thai 0.06, Chinese 0."""


def _ascending(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise ValueError("the shortest n-gram must not be longer than the longest")
    return value


Length = Annotated[int, Field(ge=1, le=10)]
NGrams = Annotated[
    tuple[Length, Length],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),  # YAML has lists alone
    AfterValidator(_ascending),
]


class TfidfConfig(MethodConfig):
    """Options of `tfidf`. The defaults were chosen on validation rows of emotion, tweets and Chinese judgments."""

    kind: Literal["tfidf"] = Field("tfidf", description="the method's name")
    word_ngrams: NGrams | None = Field((1, 2), description="shortest and longest word n-gram; null: none")
    char_ngrams: NGrams | None = Field((3, 5), description="shortest and longest character n-gram; null: none")
    unspaced_ngrams: NGrams = Field((1, 3), description="in place of `char_ngrams` for writing without spaces")
    min_df: int = Field(2, ge=1, description="texts that an n-gram must be in")
    max_features: int | None = Field(200_000, ge=1, description="n-grams kept of each kind, the most frequent")
    lowercase: bool = Field(True, description="drop case")
    sublinear_tf: bool = Field(True, description="a count c weighs 1 + ln c")
    c: float | None = Field(None, gt=0, description="inverse penalty; default: the best of a grid on validation")
    class_weight: ClassWeight = Field("balanced", description="balanced: each label weighs the same; null: each row")
    max_chars: int = Field(100_000, ge=1, description="characters of a text that are read")

    @model_validator(mode="after")
    def _some_ngrams(self) -> TfidfConfig:
        if self.word_ngrams is None and self.char_ngrams is None:
            raise ValueError("`word_ngrams` and `char_ngrams` must not both be null")
        return self


def fit(train: Split, validation: Split, config: TfidfConfig, setting: Setting) -> Fitted:
    """Fit to train; validation chooses C, where `TfidfConfig.c` does not say it, and nothing else.

    Raises:
        DataError: a label is missing or unknown, no text of train holds an n-gram, or C is to be chosen without
            validation rows.
    """
    texts = [text[: config.max_chars] for text in train.texts]
    spaces = whitespace_share(texts)
    fitted = [
        ngrams
        for reading in readings(config, unspaced=spaces < UNSPACED_BELOW)
        if (ngrams := NgramFeatures.fit(reading, texts, config.min_df, config.max_features)) is not None
    ]
    if not fitted:
        raise DataError(f"{train.source or train.name}: no text holds a word or character to learn from")
    families = [family for family, _ in fitted]
    features = sparse.hstack([columns for _, columns in fitted], format="csr")
    rows = FeatureRows(features, targets_of(train, setting.labels, setting.task.problem))
    chosen = _fit_linear(rows, families, validation, config, setting)
    classifier = TfidfClassifier(setting.labels, families, chosen.linear, config.max_chars, decision=setting.decision)
    return Fitted(
        classifier=classifier,
        labels_used={"train": len(train), "validation": len(validation) if config.c is None else 0},
        facts={
            "trainable_parameters": chosen.linear.size,
            "total_parameters": chosen.linear.size,
            "train_tokens": int(classifier.count_tokens(texts)[0].sum()),
            "c": chosen.c,
            "validation_macro_f1_by_c": {f"{c:g}": score for c, score in chosen.macro_f1.items()},
            "analyzers": [family.reading.analyzer for family in families],
            "features": [len(family.terms) for family in families],
            "whitespace_share": round(spaces, 4),
            "train_texts_cut": sum(len(text) > config.max_chars for text in train.texts),
        },
    )


def _fit_linear(
    rows: FeatureRows, families: Sequence[NgramFeatures], validation: Split, config: TfidfConfig, setting: Setting
) -> Chosen:
    if config.c is not None:
        return Chosen(fit_logistic(rows, len(setting.labels), config.c, config.class_weight), config.c, {})
    texts = [text[: config.max_chars] for text in validation.texts]
    targets = targets_of(validation, setting.labels, setting.task.problem)
    features = sparse.hstack([family.features(texts) for family in families], format="csr") if texts else None
    return choose_c(rows, FeatureRows(features, targets), GRID, config.class_weight, setting)


def readings(config: TfidfConfig, *, unspaced: bool) -> list[NgramOptions]:
    """The kinds of n-grams that a config asks for; in unspaced writing, characters are read across words."""
    wanted: list[tuple[Analyzer, tuple[int, int]]] = []
    if config.word_ngrams is not None:
        wanted.append(("word", config.word_ngrams))
    if config.char_ngrams is not None:
        wanted.append(("char", config.unspaced_ngrams) if unspaced else ("char_wb", config.char_ngrams))
    return [
        NgramOptions(analyzer, shortest, longest, config.lowercase, config.sublinear_tf)
        for analyzer, (shortest, longest) in wanted
    ]


def whitespace_share(texts: Sequence[str]) -> float:
    """White space among all characters of the texts, 0 to 1; 0 where there is no character."""
    total = sum(map(len, texts))
    return 1 - sum(len(part) for text in texts for part in text.split()) / total if total else 0.0


def out_of_fold(texts: Sequence[str], label_indices: npt.NDArray[np.int64], n_classes: int) -> npt.NDArray[np.float32]:
    """Each text's probabilities by a model that was not fitted to it: five stratified folds, fast settings.

    Word 1-2-grams (character 1-3-grams in unspaced writing); for ranking suspected wrong labels, not for reporting
    accuracy. The n-grams are counted once; which of them are features, and their weights, is fitted inside each fold.
    The model is logistic regression with C = 10, whose time grows with n-grams × labels; above `MOST_WORK` of them it
    is naive Bayes, which reads the rows once, with fewer features the more labels there are.

    Args:
        texts: ``[N]``.
        label_indices: ``[N]``, each in 0 to ``n_classes - 1``.
        n_classes: C.

    Returns:
        probabilities ``[N, C]`` float32, each row summing to 1. The same input gives the same bytes.
    """
    config = TfidfConfig(word_ngrams=(1, 2), char_ngrams=None, c=10.0)
    cut = [text[: config.max_chars] for text in texts]
    if whitespace_share(cut) < UNSPACED_BELOW:
        reading = NgramOptions("char", *config.unspaced_ngrams)
    else:
        reading = NgramOptions("word", 1, 2)
    fold = stratified_folds(label_indices, FOLDS)
    probs = np.full((len(cut), n_classes), 1 / n_classes, dtype=np.float32)
    try:
        counts = reading.counter().fit_transform(cut)
    except ValueError:  # no n-gram in any text, so every label stays as likely
        return probs
    much = counts.nnz * n_classes > MOST_WORK
    kept = MOST_PARAMETERS // n_classes if much else config.max_features
    for held_out in np.unique(fold):
        inside, outside = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
        columns = frequent(counts[inside], config.min_df, kept)
        if not len(columns):
            continue
        known, asked = counts[inside][:, columns], counts[outside][:, columns]
        idf = inverse_frequency(known)
        features, unseen = (weighted(part, idf, sublinear=reading.sublinear) for part in (known, asked))
        rows = FeatureRows(features, label_indices[inside])
        linear = fit_naive_bayes(rows, n_classes) if much else fit_logistic(rows, n_classes, 10.0, tol=1e-3)
        probs[outside] = probabilities(linear.logits(unseen))
    return probs


def frequent(counts: sparse.csr_matrix, min_df: int, max_features: int | None) -> IntArray:
    """The columns of counts ``[N, F]`` that `NgramFeatures.fit` would keep of these rows, in order."""
    df = np.bincount(counts.indices, minlength=counts.shape[1])
    columns = np.flatnonzero(df >= min_df)
    columns = columns if len(columns) else np.flatnonzero(df)
    if max_features is None or len(columns) <= max_features:
        return columns
    total = np.asarray(counts.sum(axis=0)).ravel()[columns]
    return np.sort(columns[np.argsort(-total)[:max_features]])


def stratified_folds(targets: IntArray, n_folds: int) -> IntArray:
    """A fold for each row, ``[N]``: each label's rows are shuffled and dealt in turn, so shares are kept."""
    generator = stream_generator(0, "fold")
    shuffled = generator.permutation(len(targets))
    dealt = shuffled[np.argsort(targets[shuffled], kind="stable")]
    fold = np.empty(len(targets), dtype=np.int64)
    fold[dealt] = np.arange(len(targets)) % n_folds
    return fold


METHOD: Method[Any] = Method("tfidf", TfidfConfig, fit, deterministic=True)
