"""A tiny model that writes what a test wants it to write."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.tiny_models import tiny_model, tiny_tokenizer


def chain_model(folder: Path, before: str, reply: str, *, chat: bool = False) -> Path:
    """Save a tiny Llama that writes `reply` behind the last token of `before`, and then its end token.

    Its layers add nothing, so the next token depends on the last one alone: each token of the chain has its successor
    as the nearest row of the language-model head. No token may occur twice in the chain.
    """
    tiny_model("llama", folder, chat=chat, hidden=64)
    tokenizer = tiny_tokenizer("llama")
    start = tokenizer(before, add_special_tokens=False)["input_ids"][-1:]
    chain = [*start, *tokenizer(reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert len(set(chain)) == len(chain), "a token that occurs twice would have two successors"
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name, tensor in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor.zero_()
    embedding, head = weights["model.embed_tokens.weight"], torch.zeros_like(weights["lm_head.weight"])
    for token, following in pairwise(chain):
        head[following] = embedding[token] / embedding[token].norm()
    save_file({**weights, "lm_head.weight": head}, file, metadata={"format": "pt"})
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False
    return folder
