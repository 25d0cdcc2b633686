"""A model that came with its own classification head, run as Transformers runs it, head included.

Texts are padded where a probe shows that this changes nothing, else only texts of one length run together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.decision import PLAIN, Decision
from adjudge.core.errors import ConfigError
from adjudge.core.protocols import BatchTolerance, Progress, SilentProgress
from adjudge.models.classifiers.linear import F32
from adjudge.models.classifiers.storage import FORMAT, read_manifest
from adjudge.models.engine.engine import PROBE_TOLERANCE, Layout
from adjudge.models.trunk.precision import BATCH_TOLERANCES, default_device
from adjudge.models.trunk.quiet import quiet_transformers

_BATCH_ROWS = 16
# Of several lengths and of one, in tokens of any vocabulary.
_PROBE_TEXTS = ("a", "b", "a b a b a b a", "b a b a b a b", "a b " * 12, "b a b")


class SequenceClassifier:
    """An ``AutoModelForSequenceClassification`` and its tokenizer.

    Args:
        model: of Transformers.
        tokenizer: of Transformers; pads on the right, and cuts texts at the end.
        labels: the label set.
        columns: ``[C]`` the model's output for each label.
        max_tokens: of a text with the tokenizer's own special tokens.
        temperature: divides the logits.
        decision: see `adjudge.core.protocols.Classifier`.

    Attributes:
        path: ``padded`` or ``equal lengths``; see `adjudge.models.engine.engine.Layout`.
        reason: why not padded, or an empty string.

    Raises:
        ConfigError: a text's logits depend on the texts beside it either way.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        labels: Sequence[str],
        columns: Sequence[int],
        max_tokens: int,
        temperature: float = 1.0,
        decision: Decision = PLAIN,
    ) -> None:
        self.model = model.to(default_device()).eval()
        self.tokenizer = tokenizer
        self.columns = tuple(columns)
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.decision = decision
        self._labels = tuple(labels)
        self.path: Layout = "padded"
        self.path, self.reason = self._choose()

    @property
    def batch_tolerance(self) -> BatchTolerance:
        """See `adjudge.core.protocols.Batching`."""
        return BATCH_TOLERANCES["float32"]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the columns."""
        return self._labels

    @torch.inference_mode()
    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """The model's logits, in the order of the labels, ``[N, C]``."""
        out = np.empty((len(texts), len(self._labels)), dtype=np.float32)
        with (progress or SilentProgress()).task("predict", len(texts)) as advance:
            for rows in self._batches(texts):
                batch = self._encode([texts[i] for i in rows])
                logits = self.model(**batch.to(self.model.device)).logits.float().cpu().numpy()
                out[rows] = logits[:, list(self.columns)]
                advance(len(rows))
        return out

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """Calibrated probabilities ``[N, C]``."""
        return self.decision.probabilities(self.predict_logits(texts, progress), self.temperature)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text, or the set of labels; never abstains."""
        return self.decision.answers(self.predict_proba(texts), self._labels)

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Each text's own tokens, and whether some are left out: two arrays ``[N]``."""
        if not len(texts):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        options = {"add_special_tokens": False, "split_special_tokens": True}
        ids = self.tokenizer(list(texts), verbose=False, **options)["input_ids"]
        counts = np.array([len(row) for row in ids], dtype=np.int64)
        return counts, counts > self.max_tokens - self.tokenizer.num_special_tokens_to_add()

    def save(self, path: Path) -> None:
        """Write ``classifier.json``, ``model/`` and ``tokenizer/`` into the folder ``path``, replacing it."""
        with atomic_path(path) as folder:
            folder.mkdir()
            self.model.save_pretrained(str(folder / "model"))
            self.tokenizer.save_pretrained(str(folder / "tokenizer"))
            manifest = {"format": FORMAT, "kind": "sequence", "problem_type": "single_label"}
            manifest |= {"labels": list(self._labels), "columns": list(self.columns)}
            manifest |= {"max_tokens": self.max_tokens, "temperature": self.temperature, **self.decision.to_json()}
            write_json(folder / "classifier.json", manifest)

    @classmethod
    def load(cls, path: Path) -> SequenceClassifier:
        """Load what `save` wrote.

        Raises:
            DataError: the folder holds no saved classifier.
        """
        manifest = read_manifest(path)
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        quiet_transformers()
        model = AutoModelForSequenceClassification.from_pretrained(
            str(path / "model"), dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(str(path / "tokenizer"), trust_remote_code=False)
        return cls(
            model,
            tokenizer,
            manifest["labels"],
            manifest["columns"],
            manifest["max_tokens"],
            float(manifest["temperature"]),
            Decision.from_json(manifest),
        )

    def _choose(self) -> tuple[Layout, str]:
        """Run a few texts together, padded and by equal lengths, and compare with each alone."""
        alone = np.concatenate([self.predict_logits([text]) for text in _PROBE_TEXTS])
        scale, problem = float(np.abs(alone).max()), ""
        paths: tuple[Layout, ...] = ("padded", "equal lengths")
        for path in paths:
            self.path = path
            worst = float(np.abs(self.predict_logits(_PROBE_TEXTS) - alone).max())
            if worst <= PROBE_TOLERANCE * scale:
                return path, problem
            problem += f"{'; ' if problem else ''}{path} and single texts differ by {worst / scale:.1e}"
        raise ConfigError(
            f"{type(self.model).__name__}: what it makes of a text depends on the texts beside it ({problem}; "
            f"allowed: {PROBE_TOLERANCE:g}), so answers could not be repeated; take a model of another architecture"
        )

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Places of the texts that run together, long ones first."""
        by_length = self.path == "equal lengths"
        lengths = self._n_tokens(texts) if by_length else [len(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: -lengths[i])
        groups = [list(same) for _, same in groupby(order, lambda i: lengths[i])] if by_length else [order]
        for group in groups:
            yield from (group[start : start + _BATCH_ROWS] for start in range(0, len(group), _BATCH_ROWS))

    def _n_tokens(self, texts: Sequence[str]) -> list[int]:
        options = {"truncation": True, "split_special_tokens": True, "max_length": self.max_tokens, "verbose": False}
        return [len(ids) for ids in self.tokenizer(list(texts), **options)["input_ids"]] if texts else []

    def _encode(self, texts: list[str]) -> Any:
        # Special tokens inside a text are ordinary characters: one that pads would be taken for the end of the row.
        options = {"padding": True, "truncation": True, "split_special_tokens": True}
        return self.tokenizer(texts, max_length=self.max_tokens, return_tensors="pt", verbose=False, **options)
