"""The classifier that stands on a neural network: encoder or causal model, score or label head, adapted or not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.decision import PLAIN, Decision
from adjudge.core.errors import AdjudgeWarning, ConfigError, DataError, ModelNotFoundError, UsageError
from adjudge.core.protocols import BatchTolerance, Progress
from adjudge.core.types import Reply
from adjudge.models.adapters import load_adapter, save_adapter
from adjudge.models.adapters.lowrank import fuse_lora
from adjudge.models.adapters.quantization import Quantization, quantize_trunk
from adjudge.models.adapters.soft import SoftPrefix, virtual_ids, virtual_tokens
from adjudge.models.classifiers.storage import FORMAT, read_manifest
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.flash import Needs, choose_kernel
from adjudge.models.engine.heads import Head, LabelHead, ScoreHead
from adjudge.models.engine.heap import keep_freed_memory
from adjudge.models.engine.network import Network
from adjudge.models.engine.steadiness import make_steady
from adjudge.models.engine.usable_precision import usable_precision
from adjudge.models.engine.writer import Writer
from adjudge.models.trunk.dropout import attention_dropout
from adjudge.models.trunk.loading import Located, Pretrained, load_pretrained
from adjudge.models.trunk.precision import Resolved, WeightsType, default_device
from adjudge.models.trunk.readout import Readout, Scaling
from adjudge.models.trunk.tokenizer import ModelTokenizer
from adjudge.prompts import Prompt, ReplyParser
from adjudge.prompts.trie import build_full_trie, build_trie

Adaptation = Literal["none", "full", "lora", "adalora", "ia3", "bitfit", "bottleneck", "prompt", "p_tuning", "prefix"]
"""What was changed of a trunk: nothing, every weight, or what an adapter changes."""
Attention = Literal["auto", "bidirectional", "flash"]
# Texts are encoded this many at a time, so that a long list costs bounded memory.
CHUNK_TEXTS = 4096


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
        adaptation: what was changed of the trunk: only ``full`` saves a copy of it.
        offset: ``[C]`` added to the logits (PMI, batch calibration); zeros without.
        temperature: see `adjudge.core.protocols.Classifier`.
        weights: what a trunk that is saved whole is saved in; its numbers must be those of that format.
        quantization: what the frozen base was rounded to; it is rounded again when it is loaded.
        attention: ``bidirectional`` where a causal model's tokens see the whole prompt.
        writer: writes the replies that decide, where the head is ``generate``; the scores stand beside them.
        decision: see `adjudge.core.protocols.Classifier`.
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
    weights: WeightsType = "float32"
    quantization: Quantization = "none"
    attention: Attention = "auto"
    writer: Writer | None = None
    decision: Decision = PLAIN

    def __post_init__(self) -> None:
        if not len(self.offset):
            self.offset = np.zeros(len(self.label_set), dtype=np.float32)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the columns."""
        return self.label_set

    @property
    def batch_tolerance(self) -> BatchTolerance:
        """See `adjudge.core.protocols.Batching`."""
        return self.network.batch_tolerance

    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """See `adjudge.core.protocols.Classifier.predict_logits`."""
        parts = [np.empty((0, len(self.label_set)), dtype=np.float32)]
        for start in range(0, len(texts), CHUNK_TEXTS):
            encoded = self.prompt.encode(texts[start : start + CHUNK_TEXTS], self.tokenizer)
            parts.append(self.network.predict_logits(encoded, len(self.label_set), progress))
        return np.concatenate(parts) + self.offset

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """See `adjudge.core.protocols.Classifier.predict_proba`."""
        return self.decision.probabilities(self.predict_logits(texts, progress), self.temperature)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text; never abstains.

        Raises:
            UsageError: what decides is a reply, which may stand for no label; see `replies`.
        """
        if self.writer is not None:
            raise UsageError(
                "this classifier's head is 'generate': a reply may stand for no label, so it cannot promise one for "
                "every text; call replies(texts), or take head 'label'"
            )
        return self.decision.answers(self.predict_proba(texts), self.label_set)

    def replies(self, texts: Sequence[str], progress: Progress | None = None) -> list[Reply] | None:
        """What the model writes in answer to each text, greedily, and the label that it stands for, if any.

        Returns:
            ``N`` replies, or None where the head is not ``generate``. A reply that ran out of tokens before its first
            line was whole stands for no label.
        """
        if self.writer is None:
            return None
        parser, found = ReplyParser(self.label_set, self.prompt.answers), []
        for start in range(0, len(texts), CHUNK_TEXTS):
            encoded = self.prompt.encode(texts[start : start + CHUNK_TEXTS], self.tokenizer)
            for one in self.writer.write(self.network, encoded, self.tokenizer, progress):
                found.append(Reply(one.text, parser.parse(one.text) if one.whole else None))
        return found

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Each text's own tokens, the prompt's not counted, and whether some are left out: two arrays ``[N]``."""
        counts = np.zeros(len(texts), dtype=np.int64)
        truncated = np.zeros(len(texts), dtype=bool)
        for start in range(0, len(texts), CHUNK_TEXTS):
            for i, row in enumerate(self.prompt.encode(texts[start : start + CHUNK_TEXTS], self.tokenizer), start):
                counts[i], truncated[i] = row.n_text_tokens, row.truncated
        return counts, truncated

    def save(self, path: Path) -> None:
        """Write the folder ``path``, replacing it.

        ``classifier.json``; ``head.safetensors``; ``adapter/``, in PEFT's format where PEFT has the kind, or
        ``trunk/`` in the Hugging Face format for a trunk that was trained whole; ``tokenizer/``. The head is always
        saved, and so is a language-model head that was trained.
        """
        with atomic_path(path) as folder:
            folder.mkdir()
            head = {**self.network.head.state_dict(), **self._output()}
            save_file({name: part.cpu().contiguous() for name, part in head.items()}, folder / "head.safetensors")
            if self.adaptation == "full":
                self._save_trunk(folder / "trunk")
            elif self.adaptation != "none":
                save_adapter(self.network.engine.trunk, folder / "adapter")
            self.tokenizer.save(folder / "tokenizer")
            write_json(folder / "classifier.json", self._manifest())

    def _output(self) -> dict[str, torch.Tensor]:
        """The language-model head, where it has learnt to write and is no part of a trunk that is saved."""
        if self.writer is None or self.adaptation != "full":
            return {}
        readout, table = self.writer.readout, self.network.engine.trunk.get_input_embeddings()  # type: ignore[operator]
        if torch.equal(readout.weight, table.weight):
            return {}
        return {"output.weight": readout.weight} | ({} if readout.bias is None else {"output.bias": readout.bias})

    def _save_trunk(self, folder: Path) -> None:
        trunk: Any = self.network.engine.trunk
        dtype = getattr(torch, self.weights)
        state = {name: part.to(dtype) for name, part in trunk.state_dict().items()}
        trunk.save_pretrained(str(folder), state_dict=state)

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
                "layers": self.base.layers,
            },
            "adaptation": self.adaptation,
            "weights": self.weights,
            "quantization": self.quantization,
            "attention": self.attention,
            "head": _described(head) | _written(self.writer),
            "precision": self.network.precision,
            "batch_tolerance": self.network.batch_tolerance.stated,
            "prompt": self.prompt.to_json(),
        } | self.decision.to_json()

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
        layers = base.get("layers")
        with torch.random.fork_rng():  # layers are made with random weights and then filled
            if adaptation == "full":
                pretrained = load_pretrained(str(path / "trunk"), tokenizer_folder=path / "tokenizer")
            else:
                pretrained = load_pretrained(base["source"], tokenizer_folder=path / "tokenizer", first_layers=layers)
                _refuse_other_base(pretrained.located, base)
            if manifest.get("quantization", "none") != "none":
                quantize_trunk(pretrained.trunk, default_device())
            if adaptation not in ("none", "full"):
                load_adapter(pretrained.trunk, path / "adapter")
            head = _load_head(path, manifest, pretrained, prompt)
        attention: Attention = manifest.get("attention", "auto")
        network = build_network(pretrained, head, prompt, manifest["precision"], attention)
        _warn_of_looser_batches(network, manifest)
        return cls(
            label_set=tuple(manifest["labels"]),
            network=network,
            prompt=prompt,
            tokenizer=pretrained.tokenizer,
            base=Located(base["name"], base["source"], base["license"], layers=layers),
            base_hash=base["hash"],
            adaptation=adaptation,
            offset=np.array(manifest["offset"], dtype=np.float32),
            temperature=float(manifest["temperature"]),
            weights=manifest.get("weights", "float32"),
            quantization=manifest.get("quantization", "none"),
            attention=attention,
            writer=_load_writer(path, manifest, pretrained),
            decision=Decision.from_json(manifest),
        )


def build_network(
    pretrained: Pretrained,
    head: Head,
    prompt: Prompt,
    precision: Resolved,
    attention: Attention = "auto",
    engine: Engine | None = None,
) -> Network:
    """Put trunk and head on the device and choose how they are run.

    Args:
        pretrained: its trunk may be adapted.
        head: of one task.
        prompt: of the same.
        precision: what the trunk shall compute in; float32 where it fails in that.
        attention: how it attends.
        engine: of another network on the same trunk, to be run the same way; default: a new one.

    Raises:
        ConfigError: what the trunk was adapted by, or the attention, cannot be run with this architecture.
    """
    device = default_device()
    causal, bidirectional = pretrained.kind == "causal", attention == "bidirectional"
    if bidirectional and not causal:
        raise ConfigError(f"attention: {pretrained.located.name!r} is an encoder, which looks both ways; leave it out")
    engine = engine or Engine(pretrained.trunk.to(device), causal=causal, bidirectional=bidirectional)
    if engine.path != "packed":
        needs = "prefix" if isinstance(virtual_tokens(engine.trunk), SoftPrefix) else ""
        needs = "attention: bidirectional with labels of several tokens" if bidirectional and head.paths else needs
        if needs:
            name = pretrained.located.name
            raise ConfigError(f"{needs} needs the packed engine, which {name!r} cannot use: {engine.reason}")
    if attention == "flash":
        engine.flash = choose_kernel(device, precision, _needs(engine, head))
    fuse_lora(engine.trunk)
    precision = usable_precision(engine, precision)
    if device.type == "cpu":
        keep_freed_memory()
    prefix_ids = (*virtual_ids(engine.trunk), *prompt.prefix_ids)
    return Network(engine, head.to(device), prefix_ids, precision, steady=make_steady(engine, precision))


def _warn_of_looser_batches(network: Network, manifest: dict[str, Any]) -> None:
    now = network.batch_tolerance.stated
    if now > manifest.get("batch_tolerance", now):
        warnings.warn(
            f"matrix products in {network.precision} depend on how many texts are computed together on this device: a "
            f"probability may differ by up to {now:g} from that of the text alone, and differed by "
            f"{manifest['batch_tolerance']:g} at most where the model was made",
            AdjudgeWarning,
            stacklevel=4,
        )


def _needs(engine: Engine, head: Head) -> Needs:
    config: Any = engine.trunk.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Needs(int(width), attention_dropout(config), bool(head.paths), engine.path == "packed")


def _described(head: Head) -> dict[str, Any]:
    if isinstance(head, LabelHead):
        scaling, full = head.scaling, head.vocabulary is not None
        described = {"space": "vocabulary" if full else "closed", "scale": scaling.scale, "cap": scaling.cap}
        return {"kind": "label", **described, "lengths": None if head.lengths is None else list(head.lengths)}
    if isinstance(head, ScoreHead):
        return {"kind": "score", "pooling": head.pooling, "bias": head.linear.bias is not None}
    raise TypeError("a head that is still learning to write cannot be saved")


def _written(writer: Writer | None) -> dict[str, Any]:
    return {} if writer is None else {"kind": "generate", "max_new_tokens": writer.max_new_tokens}


def _load_writer(path: Path, manifest: dict[str, Any], pretrained: Pretrained) -> Writer | None:
    described = manifest["head"]
    if described["kind"] != "generate":
        return None
    readout, state = pretrained.readout, load_file(path / "head.safetensors")
    if "output.weight" in state:
        scaling = Scaling(described.get("scale", 1.0), described.get("cap"))
        readout = Readout(state["output.weight"], state.get("output.bias"), scaling)
    if readout is None:
        raise DataError(f"{path}: it writes its answers, and its base model has no head for that")
    return Writer(readout.to(default_device()), int(described["max_new_tokens"]))


def _load_head(path: Path, manifest: dict[str, Any], pretrained: Pretrained, prompt: Prompt) -> Head:
    file = path / "head.safetensors"
    state = load_file(file) if file.is_file() else {}
    described = manifest["head"]
    biased = described.get("bias", True)
    words = described["kind"] in ("label", "generate")
    needed = {"rows"} if words else {"linear.weight", *(["linear.bias"] if biased else [])}
    if missing := needed - state.keys():
        raise DataError(f"{file}: the head lacks {', '.join(sorted(missing))}, so answers would be random")
    if words:
        return _label_head(path, state, described, pretrained, prompt)
    weight = state["linear.weight"]
    expected = (len(manifest["labels"]), pretrained.hidden_size)
    if tuple(weight.shape) != expected:
        raise DataError(f"{path}: the head has shape {tuple(weight.shape)}, expected {expected}")
    score = ScoreHead(pretrained.hidden_size, len(manifest["labels"]), pooling=described["pooling"], bias=biased)
    score.load_state_dict(state)
    return score


def _label_head(
    path: Path, state: dict[str, torch.Tensor], described: dict[str, Any], pretrained: Pretrained, prompt: Prompt
) -> LabelHead:
    full, rows = described.get("space") == "vocabulary", state["rows"]
    if full and pretrained.readout is None:
        raise DataError(f"{path}: it scores words under the whole vocabulary, and its base model has no head for that")
    end_id = pretrained.tokenizer.end_id
    trie = build_full_trie(prompt.answer_ids) if full else build_trie(prompt.answer_ids, end_id)
    if rows.shape != (len(trie.token_ids), pretrained.hidden_size):
        raise DataError(f"{path}: the head holds rows of shape {tuple(rows.shape)}, which do not fit the labels")
    return LabelHead(
        rows,
        trie,
        bias=state.get("bias"),
        scaling=Scaling(described.get("scale", 1.0), described.get("cap")),
        vocabulary=pretrained.readout if full else None,
        lengths=described.get("lengths"),
    )


def _refuse_other_base(found: Located, expected: dict[str, Any]) -> None:
    if expected["hash"] is None:
        return
    actual = found.hash()
    if actual != expected["hash"]:
        raise ModelNotFoundError(
            f"the base model {expected['name']!r} at hand (hash {str(actual)[:12]}) is not the one that this "
            f"classifier was trained on (hash {expected['hash'][:12]}); put the original back"
        )
