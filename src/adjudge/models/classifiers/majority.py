"""The floor: a classifier that answers with the label shares of train, whatever the text says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.decision import PLAIN, Decision
from adjudge.core.errors import DataError
from adjudge.core.protocols import Progress
from adjudge.models.classifiers.linear import F32
from adjudge.models.classifiers.storage import FORMAT, read_manifest


class MajorityClassifier:
    """Answers every text with the same probabilities.

    Args:
        labels: the label set, C of them.
        log_shares: ``[C]`` logarithms of the label shares, the logits of every text.
        temperature: divides the logits before the softmax.
        decision: see `adjudge.core.protocols.Classifier`; of several labels the logits are log-odds of their shares.
    """

    def __init__(
        self, labels: Sequence[str], log_shares: F32, temperature: float = 1.0, decision: Decision = PLAIN
    ) -> None:
        self.temperature = temperature
        self.decision = decision
        self._labels = tuple(labels)
        self._log_shares = np.asarray(log_shares, dtype=np.float32)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the columns."""
        return self._labels

    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """The log shares, once for each text: ``[N, C]``."""
        del progress
        return np.tile(self._log_shares, (len(texts), 1))

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """The shares, sharpened or flattened by the temperature: ``[N, C]``."""
        return self.decision.probabilities(self.predict_logits(texts, progress), self.temperature)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most frequent label of train, once for each text; of equal ones the first."""
        return self.decision.answers(self.predict_proba(texts), self._labels)

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """No token is ever read, so none is counted and nothing is truncated: two arrays ``[N]`` of zeros."""
        return np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=bool)

    def save(self, path: Path) -> None:
        """Write ``classifier.json`` and ``shares.safetensors`` into the folder ``path``, replacing it."""
        with atomic_path(path) as folder:
            folder.mkdir()
            save_file({"log_shares": self._log_shares}, folder / "shares.safetensors")
            manifest = {"format": FORMAT, "kind": "majority", "labels": list(self._labels)}
            manifest |= {"temperature": self.temperature, **self.decision.to_json()}
            write_json(folder / "classifier.json", manifest)

    @classmethod
    def load(cls, path: Path) -> MajorityClassifier:
        """Load what `save` wrote.

        Raises:
            DataError: the folder holds no saved classifier, or its arrays do not fit its labels.
        """
        manifest = read_manifest(path)
        labels = [str(label) for label in manifest["labels"]]
        log_shares = load_file(path / "shares.safetensors").get("log_shares")
        if log_shares is None or log_shares.shape != (len(labels),):
            raise DataError(f"{path}: shares.safetensors does not hold one share for each of {len(labels)} labels")
        return cls(labels, log_shares, float(manifest["temperature"]), Decision.from_json(manifest))
