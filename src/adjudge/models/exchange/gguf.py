"""A merged causal model of the Llama architecture as one GGUF file, for llama.cpp and what builds on it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adjudge.core.errors import AdjudgeWarning, ConfigError
from adjudge.core.optional import require
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.engine.heads import LabelHead
from adjudge.models.exchange.huggingface import causal_model, prepare, write_words
from adjudge.models.trunk.precision import WeightsType

FILE = "model.gguf"
_ARCHITECTURE = "llama"  # as the format calls it


def export_gguf(classifier: NeuralClassifier, folder: Path, weights: WeightsType = "float32") -> None:
    """Write ``model.gguf`` (weights and tokenizer), the tokenizer in Hugging Face's form, ``prompt.json``, the script.

    Vectors (norms) stay float32, as the format's readers expect.

    Args:
        classifier: with a label head, or one that writes; changed in place, as by
            `adjudge.models.exchange.huggingface.export_huggingface`.
        folder: is made.
        weights: number format of the matrices.

    Raises:
        MissingExtraError: gguf is not installed.
        ConfigError: a score head, another architecture, scaled positions, or a tokenizer that is no byte-level BPE.
    """
    gguf = require("gguf", "gguf", "write GGUF files")
    config: Any = classifier.network.engine.trunk.config
    if not isinstance(classifier.network.head, LabelHead):
        raise ConfigError(
            "the GGUF form holds a language model, which scores or writes label words; it needs head.kind 'label' "
            "or 'generate'. Export a score head to Hugging Face or ONNX"
        )
    _refuse_other_architectures(config)
    backend = json.loads(classifier.tokenizer.transformers.backend_tokenizer.to_str())
    _refuse_other_tokenizers(backend)
    prepare(classifier, weights)
    model: Any = causal_model(classifier)
    folder.mkdir(parents=True)
    writer = gguf.GGUFWriter(str(folder / FILE), _ARCHITECTURE)
    _write_config(writer, model.config, gguf, weights)
    _write_tokenizer(writer, classifier.tokenizer.transformers, backend, model.config.vocab_size, gguf)
    _write_tensors(writer, model, gguf, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_words(classifier, folder)


def _refuse_other_architectures(config: Any) -> None:
    if config.model_type != _ARCHITECTURE:
        raise ConfigError(f"models of type {config.model_type!r} are not written as GGUF; allowed: {_ARCHITECTURE}")
    scaling = _rope(config).get("rope_type", "default")
    if scaling != "default" or config.attention_bias or config.mlp_bias:
        raise ConfigError(
            f"GGUF of models with scaled positions ({scaling}) or biases is not written; export to Hugging Face"
        )


def _rope(config: Any) -> dict[str, Any]:
    return dict(getattr(config, "rope_parameters", None) or {})


def _refuse_other_tokenizers(backend: dict[str, Any]) -> None:
    if backend["model"].get("type") != "BPE" or "ByteLevel" not in json.dumps(backend.get("pre_tokenizer")):
        raise ConfigError("GGUF is written for byte-level BPE tokenizers; this one is of another kind")


def _write_config(writer: Any, config: Any, gguf: Any, weights: WeightsType) -> None:
    kinds = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "bfloat16": "MOSTLY_BF16"}
    writer.add_file_type(getattr(gguf.LlamaFileType, kinds[weights]))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_rope_freq_base(float(_rope(config).get("rope_theta", 10000.0)))
    writer.add_vocab_size(config.vocab_size)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _write_tokenizer(writer: Any, tokenizer: Any, backend: dict[str, Any], size: int, gguf: Any) -> None:
    """Tokens, their kinds and merges; rows of the embedding without a token are marked unused."""
    by_id = {index: token for token, index in backend["model"]["vocab"].items()}
    added = {token["id"]: token for token in backend["added_tokens"]}
    tokens, kinds = [], []
    for index in range(size):
        if index in added:
            kind = gguf.TokenType.CONTROL if added[index]["special"] else gguf.TokenType.USER_DEFINED
            tokens.append(added[index]["content"])
        else:
            kind = gguf.TokenType.NORMAL if index in by_id else gguf.TokenType.UNUSED
            tokens.append(by_id.get(index, f"[unused{index}]"))
        kinds.append(kind)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(backend["pre_tokenizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = backend["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for name in ("bos", "eos", "unk", "pad"):
        found = getattr(tokenizer, f"{name}_token_id")
        if found is not None:
            getattr(writer, f"add_{name}_token_id")(found)
    writer.add_add_bos_token(
        tokenizer.bos_token_id is not None and tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    )
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.get_chat_template())


def _splitting(pre_tokenizer: dict[str, Any]) -> str:
    """What llama.cpp calls a way of splitting texts before the merges."""
    steps = pre_tokenizer.get("pretokenizers") or [pre_tokenizer]
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    warnings.warn(
        "the tokenizer splits texts in a way that GGUF has no name for here; programs that encode texts by the file "
        "alone may split them otherwise, so give them token ids",
        AdjudgeWarning,
        stacklevel=2,
    )
    return "default"


def _write_tensors(writer: Any, model: Any, gguf: Any, weights: WeightsType) -> None:
    """Every tensor under the format's name; queries and keys in its order of rotated halves."""
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        part = tensor.detach()
        for projection, count in heads.items():
            part = _interleaved(part, count) if f".{projection}." in name else part
        target = names.get_name(name, try_suffixes=(".weight",))
        if part.ndim < 2 or weights == "float32":
            writer.add_tensor(target, part.float().numpy())
        elif weights == "float16":
            writer.add_tensor(target, part.half().numpy())
        else:
            raw = part.to(torch.bfloat16).view(torch.uint8).numpy()
            writer.add_tensor(target, np.ascontiguousarray(raw), raw_dtype=gguf.GGMLQuantizationType.BF16)


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from (first half, second half) to pairs: GGUF rotates neighbours."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)
