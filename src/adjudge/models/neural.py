"""The classifier that stands on a neural network: encoder or causal model, score or label head, adapted or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.errors import DataError, ModelNotFoundError
from adjudge.core.protocols import Progress
from adjudge.models.adapters import load_adapter, save_adapter
from adjudge.models.engine import Engine
from adjudge.models.heads import Head, LabelHead, ScoreHead
from adjudge.models.linear import probabilities
from adjudge.models.loading import Located, Pretrained, load_pretrained
from adjudge.models.network import Network
from adjudge.models.precision import Resolved, default_device
from adjudge.models.storage import FORMAT, read_manifest
from adjudge.models.tokenizer import ModelTokenizer
from adjudge.prompts import Prompt
from adjudge.prompts.trie import build_trie

Adaptation = Literal["none", "lora", "full"]
# Texts are encoded this many at a time, so that a long list costs bounded memory.
_CHUNK_TEXTS = 4096


@dataclass
class NeuralClassifier:
    """A fitted network with its prompt.

    Attributes:
        label_set: the closed set, in order.
        network: what computes logits.
        prompt: renders texts to ids.
        tokenizer: the model's.
        base: the model that it stands on.
        base_hash: hash of that model's files, where it is a local one.
        adaptation: what was changed of the trunk: ``none`` and ``lora`` save no copy of the base model.
        offset: ``[C]`` added to the logits (PMI, batch calibration); zeros without.
        temperature: see `adjudge.core.protocols.Classifier`.
    """

    label_set: tuple[str, ...]
    network: Network
    prompt: Prompt
    tokenizer: ModelTokenizer
    base: Located
    base_hash: str | None
    adaptation: Adaptation
    offset: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not len(self.offset):
            self.offset = np.zeros(len(self.label_set), dtype=np.float32)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the columns."""
        return self.label_set

    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """See `adjudge.core.protocols.Classifier.predict_logits`."""
        parts = [np.empty((0, len(self.label_set)), dtype=np.float32)]
        for start in range(0, len(texts), _CHUNK_TEXTS):
            encoded = self.prompt.encode(texts[start : start + _CHUNK_TEXTS], self.tokenizer)
            parts.append(self.network.predict_logits(encoded, len(self.label_set), progress))
        return np.concatenate(parts) + self.offset

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """See `adjudge.core.protocols.Classifier.predict_proba`."""
        return probabilities(self.predict_logits(texts, progress), self.temperature)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text; never abstains."""
        return [self.label_set[i] for i in self.predict_logits(texts).argmax(axis=1)]

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Each text's own tokens, the prompt's not counted, and whether some are left out: two arrays ``[N]``."""
        counts = np.zeros(len(texts), dtype=np.int64)
        truncated = np.zeros(len(texts), dtype=bool)
        for start in range(0, len(texts), _CHUNK_TEXTS):
            for i, row in enumerate(self.prompt.encode(texts[start : start + _CHUNK_TEXTS], self.tokenizer), start):
                counts[i], truncated[i] = row.n_text_tokens, row.truncated
        return counts, truncated

    def save(self, path: Path) -> None:
        """Write the folder ``path``, replacing it.

        ``classifier.json``; ``head.safetensors``; ``adapter/`` in PEFT's format for LoRA, or ``trunk/`` in the
        Hugging Face format for a trunk that was trained whole; ``tokenizer/``. The head is always saved.
        """
        with atomic_path(path) as folder:
            folder.mkdir()
            head = self.network.head.state_dict()
            save_file({name: part.cpu().contiguous() for name, part in head.items()}, folder / "head.safetensors")
            if self.adaptation == "lora":
                save_adapter(self.network.engine.trunk, folder / "adapter")
            elif self.adaptation == "full":
                self.network.engine.trunk.save_pretrained(str(folder / "trunk"))  # type: ignore[operator]
            self.tokenizer.save(folder / "tokenizer")
            write_json(folder / "classifier.json", self._manifest())

    def _manifest(self) -> dict[str, Any]:
        head = self.network.head
        return {
            "format": FORMAT,
            "kind": "neural",
            "problem_type": "single_label",
            "labels": list(self.label_set),
            "temperature": self.temperature,
            "offset": [float(value) for value in self.offset],
            "base": {
                "name": self.base.name,
                "source": self.base.reference,
                "hash": self.base_hash,
                "license": self.base.license,
            },
            "adaptation": self.adaptation,
            "head": {"kind": "score", "pooling": head.pooling} if isinstance(head, ScoreHead) else {"kind": "label"},
            "precision": self.network.precision,
            "prompt": self.prompt.to_json(),
        }

    @classmethod
    def load(cls, path: Path) -> NeuralClassifier:
        """Load what `save` wrote.

        Raises:
            DataError: the folder holds no saved classifier, or its head does not fit its labels.
            ModelNotFoundError: the base model cannot be had, or is another one than it was trained on.
        """
        manifest = read_manifest(path)
        base, prompt = manifest["base"], Prompt.from_json(manifest["prompt"])
        adaptation: Adaptation = manifest["adaptation"]
        source = str(path / "trunk") if adaptation == "full" else base["source"]
        with torch.random.fork_rng():  # layers are made with random weights and then filled
            pretrained = load_pretrained(source, tokenizer_folder=path / "tokenizer")
            if adaptation != "full":
                _refuse_other_base(pretrained.located, base)
            if adaptation == "lora":
                load_adapter(pretrained.trunk, path / "adapter")
            head = _load_head(path, manifest, pretrained, prompt)
        return cls(
            label_set=tuple(manifest["labels"]),
            network=build_network(pretrained, head, prompt, manifest["precision"]),
            prompt=prompt,
            tokenizer=pretrained.tokenizer,
            base=Located(base["name"], base["source"], base["license"]),
            base_hash=base["hash"],
            adaptation=adaptation,
            offset=np.array(manifest["offset"], dtype=np.float32),
            temperature=float(manifest["temperature"]),
        )


def build_network(pretrained: Pretrained, head: Head, prompt: Prompt, precision: Resolved) -> Network:
    """Put trunk and head on the device and choose how they are run."""
    device = default_device()
    engine = Engine(pretrained.trunk.to(device), causal=pretrained.kind == "causal")
    return Network(engine, head.to(device), prompt.prefix_ids, precision)


def _load_head(path: Path, manifest: dict[str, Any], pretrained: Pretrained, prompt: Prompt) -> Head:
    file = path / "head.safetensors"
    state = load_file(file) if file.is_file() else {}
    needed = {"rows"} if manifest["head"]["kind"] == "label" else {"linear.weight", "linear.bias"}
    if missing := needed - state.keys():
        raise DataError(f"{file}: the head lacks {', '.join(sorted(missing))}, so answers would be random")
    described = manifest["head"]
    if described["kind"] == "label":
        trie = build_trie(prompt.answer_ids, pretrained.tokenizer.end_id)
        rows = state["rows"]
        if rows.shape != (len(trie.token_ids), pretrained.hidden_size):
            raise DataError(f"{path}: the head holds rows of shape {tuple(rows.shape)}, which do not fit the labels")
        return LabelHead(rows, trie)
    weight = state["linear.weight"]
    expected = (len(manifest["labels"]), pretrained.hidden_size)
    if tuple(weight.shape) != expected:
        raise DataError(f"{path}: the head has shape {tuple(weight.shape)}, expected {expected}")
    score = ScoreHead(pretrained.hidden_size, len(manifest["labels"]), pooling=described["pooling"])
    score.load_state_dict(state)
    return score


def _refuse_other_base(found: Located, expected: dict[str, Any]) -> None:
    if expected["hash"] is None:
        return
    actual = found.hash()
    if actual != expected["hash"]:
        raise ModelNotFoundError(
            f"the base model {expected['name']!r} at hand (hash {str(actual)[:12]}) is not the one that this "
            f"classifier was trained on (hash {expected['hash'][:12]}); put the original back"
        )
