"""Word and character n-grams, TF-IDF weighted, with a linear layer; saved as JSON and safetensors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from adjudge.core.atomic import atomic_path, read_json, write_json, write_text
from adjudge.core.decision import PLAIN, Decision
from adjudge.core.errors import DataError
from adjudge.core.protocols import Progress
from adjudge.models.classifiers.linear import F32, Linear
from adjudge.models.classifiers.storage import FORMAT, read_manifest

Analyzer = Literal["word", "char", "char_wb"]
WORD = r"\b\w+\b"
_WORD = re.compile(WORD)
_CHUNK_ROWS = 2048
_CHUNK_CHARS = 4_000_000


@dataclass(frozen=True)
class NgramOptions:
    """What a family of n-grams is made of.

    Attributes:
        analyzer: ``word``; ``char_wb``: characters within a word and its borders; ``char``: across words too.
        shortest: the smallest n, at least 1.
        longest: the largest n.
        lowercase: whether case is dropped.
        sublinear: whether a count c weighs 1 + ln c instead of c.
    """

    analyzer: Analyzer
    shortest: int
    longest: int
    lowercase: bool = True
    sublinear: bool = True

    def counter(self, **options: Any) -> CountVectorizer:
        """A scikit-learn counter of these n-grams."""
        return CountVectorizer(
            analyzer=self.analyzer,
            ngram_range=(self.shortest, self.longest),
            lowercase=self.lowercase,
            token_pattern=WORD if self.analyzer == "word" else None,
            dtype=np.float32,
            **options,
        )


class NgramFeatures:
    """One kind of n-grams with its vocabulary and weights: texts in, rows of unit length out.

    Args:
        reading: what the n-grams are made of.
        terms: ``[F]`` n-grams in the order of the columns.
        idf: ``[F]`` float32 weights, ``ln((1 + N) / (1 + df)) + 1`` over the N train texts.
    """

    def __init__(self, reading: NgramOptions, terms: Sequence[str], idf: F32) -> None:
        self.reading = reading
        self.terms = list(terms)
        self.idf = idf
        self._counter = reading.counter(vocabulary=self.terms)

    @classmethod
    def fit(
        cls, reading: NgramOptions, texts: Sequence[str], min_df: int, max_features: int | None
    ) -> tuple[NgramFeatures, sparse.csr_matrix] | None:
        """The family of these texts with their features ``[N, F]``, or None where they hold no such n-gram.

        Where no n-gram is in ``min_df`` texts, as in a handful of short ones, all are kept.
        """
        for floor in dict.fromkeys((min_df, 1)):
            counter = reading.counter(min_df=floor, max_features=max_features)
            try:
                counts = counter.fit_transform(texts)
            except ValueError:  # scikit-learn's word for an empty vocabulary; the options were checked before
                continue
            family = cls(reading, counter.get_feature_names_out().tolist(), inverse_frequency(counts))
            return family, weighted(counts, family.idf, sublinear=reading.sublinear)
        return None

    def features(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Weighted n-grams ``[N, F]``, float32, each row of Euclidean length 1, or 0 where nothing is known."""
        return weighted(self._counter.transform(texts), self.idf, sublinear=self.reading.sublinear)


def inverse_frequency(counts: sparse.csr_matrix) -> F32:
    """``ln((1 + N) / (1 + df)) + 1`` of every column of counts ``[N, F]``: ``[F]``."""
    df = np.bincount(counts.indices, minlength=counts.shape[1])
    idf: F32 = (np.log((1 + counts.shape[0]) / (1 + df)) + 1).astype(np.float32)
    return idf


def weighted(counts: sparse.csr_matrix, idf: F32, *, sublinear: bool) -> sparse.csr_matrix:
    """Counts ``[N, F]``, changed in place, as rows of Euclidean length 1, or 0 where nothing is counted."""
    if sublinear:
        counts.data = np.log(counts.data) + np.float32(1)
    counts.data *= idf[counts.indices]
    rows: sparse.csr_matrix = normalize(counts, copy=False)
    return rows


class TfidfClassifier:
    """Logistic regression over families of n-grams side by side.

    Args:
        labels: the label set, C of them.
        families: their features, side by side, are the columns of the linear layer.
        linear: the linear layer.
        max_chars: characters of a text that are read; the rest is cut off, so that no text is too long for memory.
        temperature: divides the logits before the softmax.
        decision: see `adjudge.core.protocols.Classifier`.
    """

    def __init__(
        self,
        labels: Sequence[str],
        families: Sequence[NgramFeatures],
        linear: Linear,
        max_chars: int,
        temperature: float = 1.0,
        decision: Decision = PLAIN,
    ) -> None:
        self.temperature = temperature
        self.decision = decision
        self._labels = tuple(labels)
        self._families = tuple(families)
        self._linear = linear
        self._max_chars = max_chars

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the columns."""
        return self._labels

    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """Scores ``[N, C]``. A text's scores are the same, bit for bit, whatever stands beside it."""
        logits = np.empty((len(texts), len(self._labels)), dtype=np.float32)
        bar = progress.task("predict", len(texts)) if progress else nullcontext(lambda _: None)
        with bar as advance:
            for start, part in chunks(texts, self._max_chars):
                features = sparse.hstack([family.features(part) for family in self._families], format="csr")
                logits[start : start + len(part)] = self._linear.logits(features)
                advance(len(part))
        return logits

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """Probabilities ``[N, C]``; see `adjudge.core.protocols.Classifier.predict_proba`."""
        return self.decision.probabilities(self.predict_logits(texts, progress), self.temperature)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text; of equal ones the first."""
        return self.decision.answers(self.predict_proba(texts), self._labels)

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Words of each whole text (``[N]``), and whether it is longer than what is read (``[N]``).

        Where the characters of unspaced writing are read across words, a token is a character other than space.
        """
        spaced = all(family.reading.analyzer != "char" for family in self._families)
        return (
            np.array([count_words(text) if spaced else count_characters(text) for text in texts], dtype=np.int64),
            np.array([len(text) > self._max_chars for text in texts], dtype=bool),
        )

    def save(self, path: Path) -> None:
        """Write the folder ``path``, replacing it: vocabulary and options as JSON, arrays as safetensors."""
        manifest = {
            "format": FORMAT,
            "kind": "tfidf",
            "labels": list(self._labels),
            "temperature": self.temperature,
            "max_chars": self._max_chars,
            "families": [asdict(family.reading) for family in self._families],
            **self.decision.to_json(),
        }
        arrays = self._linear.arrays() | {f"idf_{i}": family.idf for i, family in enumerate(self._families)}
        # Escaped, because an n-gram may be half of a surrogate pair, which UTF-8 cannot hold.
        vocabulary = json.dumps([family.terms for family in self._families], separators=(",", ":"))
        with atomic_path(path) as folder:
            folder.mkdir()
            save_file(arrays, folder / "arrays.safetensors")
            write_text(folder / "vocabulary.json", vocabulary)
            write_json(folder / "classifier.json", manifest)

    @classmethod
    def load(cls, path: Path) -> TfidfClassifier:
        """Load what `save` wrote; predictions are the same bit for bit.

        Raises:
            DataError: the folder holds no saved classifier, or its files do not fit each other.
        """
        manifest = read_manifest(path)
        arrays = load_file(path / "arrays.safetensors")
        vocabulary = read_json(path / "vocabulary.json")
        readings = [NgramOptions(**fields) for fields in manifest["families"]]
        widths = [len(terms) for terms in vocabulary]
        if len(vocabulary) != len(readings) or any(
            f"idf_{i}" not in arrays or arrays[f"idf_{i}"].shape != (width,) for i, width in enumerate(widths)
        ):
            raise DataError(f"{path}: the vocabulary and the arrays do not fit each other; save the classifier again")
        families = [
            NgramFeatures(reading, terms, arrays[f"idf_{i}"])
            for i, (reading, terms) in enumerate(zip(readings, vocabulary, strict=True))
        ]
        labels = [str(label) for label in manifest["labels"]]
        linear = Linear.from_arrays(arrays, len(labels), sum(widths), str(path))
        temperature, decision = float(manifest["temperature"]), Decision.from_json(manifest)
        return cls(labels, families, linear, int(manifest["max_chars"]), temperature, decision)


def chunks(texts: Sequence[str], max_chars: int) -> Iterator[tuple[int, list[str]]]:
    """Texts cut to ``max_chars``, a bounded number of rows and characters at a time, with the first row's position."""
    part: list[str] = []
    chars = 0
    for i, text in enumerate(texts):
        part.append(text[:max_chars])
        chars += len(part[-1])
        if len(part) == _CHUNK_ROWS or chars >= _CHUNK_CHARS or i + 1 == len(texts):
            yield i + 1 - len(part), part
            part, chars = [], 0


def count_words(text: str) -> int:
    """The number of words of a text, without holding them."""
    return sum(1 for _ in _WORD.finditer(text))


def count_characters(text: str) -> int:
    """The number of characters of a text that are no white space."""
    return sum(map(len, text.split()))
