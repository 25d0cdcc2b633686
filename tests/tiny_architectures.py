"""Tiny random models of the text architectures that Transformers has, for the table of what works with which.

`tests.tiny_models` has the few that most tests run on; these are made from each architecture's own configuration
class by giving the sizes that it has small values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.tiny_models import tiny_tokenizer

LEAVE = object()
"""In the place of a value: a size that a configuration has and cannot be told."""
# What architectures call their sizes. A configuration is told those that it has.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(
        ("hidden_size", "embedding_size", "emb_dim", "dim", "n_embd", "d_model", "word_embed_proj_dim"), 32
    ),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_inner", "ffn_dim", "n_inner", "dff", "dim_ff"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 512),
    **dict.fromkeys(("head_dim", "d_head", "state_size", "rotary_dim"), 8),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "moe_shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("shared_expert_intermediate_size", "shared_intermediate_size", "input_embedding_size"), 32),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "vocab_size": 300,
    "initializer_range": 0.1,
}
# Keys and values through a narrow state (DeepSeek).
_LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
_STATE_SPACE = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
_TWO_KINDS = {"num_hidden_layers": 4, "layer_types": ["linear_attention", "full_attention"] * 2}

# Left out: MRA, whose attention is zero without a kernel of its own.
ENCODERS: dict[str, dict[str, Any]] = {
    "albert": {},
    "bart": {},
    "bert": {},
    "big_bird": {"block_size": 8, "num_random_blocks": 1},
    "camembert": {},
    "convbert": {},
    "data2vec-text": {},
    "deberta": {},
    "deberta-v2": {},
    "distilbert": {},
    "electra": {},
    "ernie": {},
    "esm": {"vocab_size": 300, "position_embedding_type": "absolute"},
    "eurobert": {},
    "flaubert": {},
    "fnet": {},
    "funnel": {
        "num_hidden_layers": LEAVE,
        "block_sizes": [1, 1],
        "block_repeats": [1, 1],
        "architectures": ["FunnelModel"],
    },
    "gte": {},
    "ibert": {},
    "jina_embeddings_v3": {},
    "longformer": {"attention_window": [16, 16]},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "mbart": {},
    "megatron-bert": {},
    "mobilebert": {},
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2},
    "mpnet": {},
    "nomic_bert": {},
    "nystromformer": {},
    "rembert": {},
    "roberta": {},
    "roberta-prelayernorm": {},
    "roc_bert": {"pronunciation_vocab_size": 8, "shape_vocab_size": 8, "shape_embed_dim": 8},
    "roformer": {},
    "squeezebert": {},
    "xlm": {},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "xlnet": {"max_position_embeddings": LEAVE},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "yoso": {},
}
DECODERS: dict[str, dict[str, Any]] = {
    "afmoe": {},
    "apertus": {},
    "arcee": {},
    "bamba": {**_STATE_SPACE, "attn_layer_indices": [1]},
    "bert-generation": {},
    "biogpt": {},
    "bitnet": {},
    "bloom": {},
    "codegen": {},
    "cohere": {},
    "cohere2": {},
    "cpmant": {},
    "ctrl": {},
    "deepseek_v2": {**_LATENT, "num_experts_per_tok": 2},
    "deepseek_v3": _LATENT,
    "diffllama": {},
    "doge": {},
    "ernie4_5": {},
    "ernie4_5_moe": {},
    "exaone4": {},
    "falcon": {"head_dim": LEAVE, "num_key_value_heads": LEAVE},
    "falcon_h1": {**_STATE_SPACE, "mamba_d_ssm": 64},
    "falcon_mamba": {},
    "gemma": {},
    "gemma2": {"query_pre_attn_scalar": 8},
    "gemma3_text": {
        "query_pre_attn_scalar": 8,
        "sliding_window": 32,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "glm": {},
    "glm4": {},
    "glm4_moe": {},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "gpt_neox": {},
    "gpt_neox_japanese": {},
    "gpt_oss": {},
    "gptj": {},
    "granite": {},
    "granitemoe": {},
    "granitemoehybrid": {**_STATE_SPACE, "layer_types": ["mamba", "attention"]},
    "helium": {},
    "hunyuan_v1_dense": {"head_dim": 8},
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "mamba_d_state": 8, "mamba_dt_rank": 4},
    "jetmoe": {},
    "lfm2": {},
    "llama": {},
    "llama4_text": {},
    "mamba": {},
    "mamba2": {"num_heads": 8, "n_groups": 1, "chunk_size": 16},
    "minimax": {},
    "ministral": {"head_dim": 8},
    "mistral": {"sliding_window": None},
    "mixtral": {},
    "modernbert-decoder": {
        "local_attention": 16,
        "global_attn_every_n_layers": 2,
        **dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id"), 0),
    },
    "mpt": {},
    "nanochat": {},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "olmoe": {},
    "openai-gpt": {},
    "opt": {},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": {},
    "qwen2": {},
    "qwen2_moe": {},
    "qwen3": {},
    "qwen3_5_text": _TWO_KINDS,
    "qwen3_moe": {},
    "qwen3_next": _TWO_KINDS,
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 16, "lru_width": 32},
    "rwkv": {"attention_hidden_size": 32},
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": {"query_pre_attn_scalar": 8},
    "xglm": {},
    "xlstm": {},
}
ARCHITECTURES = {**ENCODERS, **DECODERS}
KNOWN = [architecture for architecture in ARCHITECTURES if architecture in CONFIG_MAPPING]
"""Those that the installed version of Transformers has."""


def tiny_config(architecture: str) -> Any:
    """A configuration of an architecture with two layers or so and a width of 32."""
    kind = CONFIG_MAPPING[architecture]
    default, tokenizer = kind(), _tokenizer(architecture)
    told = {name: size for name, size in _SIZES.items() if getattr(default, name, None) is not None}
    told |= {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "cls", "sep")
    }
    told |= ARCHITECTURES[architecture]
    return kind(**{name: value for name, value in told.items() if value is not LEAVE})


def _tokenizer(architecture: str) -> Any:
    return tiny_tokenizer("llama" if architecture in DECODERS else "bert")


def tiny_architecture(architecture: str, folder: Path, *, seed: int = 0) -> Path:
    """Save a tiny random model of an architecture and its tokenizer, and return the folder.

    Args:
        architecture: a key of `ARCHITECTURES`.
        folder: where to; made if it is not there.
        seed: of the weights. The caller's torch generator is left as it was.
    """
    build = AutoModelForCausalLM if architecture in DECODERS else AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        build.from_config(tiny_config(architecture), dtype=torch.float32).save_pretrained(folder)
    _tokenizer(architecture).save_pretrained(folder)
    return folder
