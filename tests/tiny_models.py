"""Tiny random models of every architecture, saved in the Hugging Face layout, for tests without a network.

Each folder holds ``config.json``, ``model.safetensors``, ``tokenizer.json`` and ``tokenizer_config.json``. The
tokenizer is a byte-level BPE of 256 bytes and a few merges: every script encodes and nothing is unknown. Special
tokens are those of the real family, so Llama, Mistral and GPT-NeoX have **no padding token**, Qwen adds no token at
the start, and BERT brackets a text with ``[CLS]`` and ``[SEP]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

MERGES = ["t h", "i n", "e r", "o n", "a n", "th e", "an d", "in g", "Ġ th", "Ġth e", "Ġ a", "Ġ s", "g o", "o d"]
CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}[{{ message['role'] }}]\n{{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """One architecture: its config type, its special tokens and what its config needs beyond the sizes."""

    model_type: str
    causal: bool
    special: dict[str, str]
    start: str = ""
    end: str = ""
    config: dict[str, Any] = field(default_factory=dict)


_BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_LLAMA = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_ROBERTA = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
_GEMMA = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
_GROUPED = {"num_key_value_heads": 2}

FAMILIES: dict[str, Family] = {
    "bert": Family("bert", False, _BERT, "[CLS]", "[SEP]"),
    "roberta": Family("roberta", False, _ROBERTA, "<s>", "</s>"),
    "modernbert": Family(
        "modernbert", False, _BERT, "[CLS]", "[SEP]", {"local_attention": 16, "global_attn_every_n_layers": 2}
    ),
    "llama": Family("llama", True, _LLAMA, "<s>", "", _GROUPED),
    "mistral": Family("mistral", True, _LLAMA, "<s>", "", {**_GROUPED, "sliding_window": None}),
    "mixtral": Family(
        "mixtral", True, _LLAMA, "<s>", "", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}
    ),
    "qwen3": Family(
        "qwen3",
        True,
        {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
        config={**_GROUPED, "head_dim": 8},
    ),
    "gemma3": Family(
        "gemma3_text",
        True,
        _GEMMA,
        "<bos>",
        "",
        {**_GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 32},
    ),
    "gpt_neox": Family("gpt_neox", True, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}),
}


def tiny_tokenizer(architecture: str = "llama", *, chat: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the special tokens of a family (and a chat template, if asked for)."""
    family = FAMILIES[architecture]
    special = list(dict.fromkeys(family.special.values()))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = special + alphabet + [merge.replace(" ", "") for merge in MERGES]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in MERGES)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    brackets = [token for token in (family.start, family.end) if token]
    if brackets:
        single = " ".join(part for part in (family.start, "$A", family.end) if part)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single,
            pair=f"{single} {single.replace('$A', '$B')}",
            special_tokens=[(token, vocabulary[token]) for token in brackets],
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **family.special, model_max_length=512)
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_model(
    architecture: str,
    folder: Path,
    *,
    seed: int = 0,
    hidden: int = 32,
    layers: int = 2,
    vocab: int | None = None,
    chat: bool = False,
) -> Path:
    """Save a tiny random model and its tokenizer, and return the folder.

    Args:
        architecture: a key of `FAMILIES`.
        folder: where to; made if it is not there.
        seed: of the weights. The caller's torch generator is left as it was.
        hidden: width; a multiple of 8. There are 4 heads (2 key-value heads where the family groups them).
        layers: number of layers.
        vocab: rows of the embedding; default: exactly the tokenizer's length. More rows leave unused ids.
        chat: whether the tokenizer brings a chat template.
    """
    family = FAMILIES[architecture]
    tokenizer = tiny_tokenizer(architecture, chat=chat)
    # RoBERTa numbers its positions from the padding id + 1 on, so it has that many more rows.
    positions = 512 + (tokenizer.pad_token_id + 1 if architecture == "roberta" else 0)
    # Given even where there is none: ModernBERT's defaults lie outside so small a vocabulary.
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id")
    ids = {name: getattr(tokenizer, name) for name in names}
    extra = dict(family.config)
    if architecture == "gemma3":
        extra["layer_types"] = ["sliding_attention" if i % 2 == 0 else "full_attention" for i in range(layers)]
    config = AutoConfig.for_model(
        family.model_type,
        vocab_size=vocab or len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=positions,
        initializer_range=0.1,  # wider than usual, so that what a token attends to shows in the output
        **ids,
        **extra,
    )
    build = AutoModelForCausalLM if family.causal else AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build.from_config(config, dtype=torch.float32)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_bert(folder: Path, *, seed: int = 0) -> Path:
    """A tiny BERT encoder."""
    return tiny_model("bert", folder, seed=seed)


def tiny_llama(folder: Path, *, seed: int = 0, chat: bool = False) -> Path:
    """A tiny Llama decoder; it has no padding token, as the real one."""
    return tiny_model("llama", folder, seed=seed, chat=chat)
