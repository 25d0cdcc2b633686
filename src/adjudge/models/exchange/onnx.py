"""A classifier with a score head as an ONNX graph: ids and mask in, calibrated probabilities out."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adjudge.core.atomic import write_json
from adjudge.core.errors import ConfigError, WorkError
from adjudge.core.optional import require
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.exchange.huggingface import SCRIPT, plain_copy, prepare
from adjudge.models.exchange.own_head import scaled_head
from adjudge.models.exchange.prompted import prompted_tokenizer

FILE = "model.onnx"
_OPSET = 20


def export_onnx(classifier: NeuralClassifier, folder: Path) -> None:
    """Write ``model.onnx``, ``tokenizer.json`` (the prompt inside), ``onnx.json`` and the script that runs them.

    The graph's metadata name, in JSON, the labels, what made the probabilities (softmax or sigmoid) and thresholds.

    Args:
        classifier: changed in place, as by `adjudge.models.exchange.huggingface.export_huggingface`.
        folder: is made.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        ConfigError: the classifier has a label head, or an adapter that is no change of weights.
        WorkError: the architecture has something that ONNX cannot express.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "onnx", "export to ONNX and to check the result")
    if not isinstance(classifier.network.head, ScoreHead):
        raise ConfigError(
            "the ONNX form needs head.kind 'score'; a label head needs the whole vocabulary: export it to Hugging Face"
        )
    trunk: Any = prepare(classifier, "float32")
    tokenizer = prompted_tokenizer(classifier.tokenizer, classifier.prompt)
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(str(folder))
    model = _Whole(plain_copy(trunk, use_cache=False), classifier).eval()
    ids = torch.ones(2, len(classifier.prompt.prefix_ids) + 8, dtype=torch.long)
    decision = classifier.decision
    meaning = {"labels": list(classifier.labels), "activation": decision.activation, **decision.to_json()}
    _trace(model, ids, folder / FILE, {name: json.dumps(value) for name, value in meaning.items()})
    settings = {"max_tokens": classifier.prompt.max_tokens, **meaning}
    settings |= {"pad_id": tokenizer.pad_token_id, "pad_token": str(tokenizer.pad_token)}
    write_json(folder / "onnx.json", settings)
    shutil.copyfile(Path(__file__).parent / "scripts" / "onnx.py", folder / SCRIPT)


def _trace(model: nn.Module, ids: torch.Tensor, file: Path, metadata: dict[str, str]) -> None:
    batch, width = torch.export.Dim("rows", min=1), torch.export.Dim("tokens", min=2)
    shape = {0: batch, 1: width}
    mask = torch.ones_like(ids)
    mask[1, -3:] = 0  # a row that is padded, so that no mask is taken for a constant
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                model,
                (ids, mask),
                input_names=["input_ids", "attention_mask"],
                output_names=["probabilities"],
                dynamic_shapes=(shape, shape),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
            program.model.metadata_props.update(metadata)
            program.save(str(file), external_data=False)
    except (RuntimeError, ValueError, TypeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise WorkError(f"this architecture cannot be written as ONNX: {first}") from error


class _Whole(nn.Module):
    """Trunk, pooling, score layer and softmax or sigmoids over right-padded rows."""

    def __init__(self, trunk: nn.Module, classifier: NeuralClassifier) -> None:
        super().__init__()
        head = classifier.network.head
        self.trunk = trunk
        self.pooling = head.pooling if isinstance(head, ScoreHead) else "last"
        self.skip = len(classifier.prompt.prefix_ids) if classifier.network.engine.causal else 0
        self.activation = classifier.decision.activation
        weight, bias = scaled_head(classifier)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Probabilities ``[B, C]`` of ids and mask ``[B, T]``."""
        hidden = self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, self.skip :]
        mask = attention_mask[:, self.skip :]
        if self.pooling == "mean":
            pooled = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        elif self.pooling == "first":
            pooled = hidden[:, 0]
        else:
            at = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
            pooled = hidden.gather(1, at)[:, 0]
        logits = torch.nn.functional.linear(pooled, self.weight, self.bias)  # type: ignore[arg-type]
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=-1)
