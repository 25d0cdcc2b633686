"""How many rows prediction runs at once: a budget of tokens, from the model's shape and the device's memory.

The budget is computed, not timed: the same machine and model give the same batches, and so the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Tokens of one forward pass. Below the least, matrix products are too small and weights are read too often; above the
# most, a CPU's caches hold no layer's states any more, and a GPU gains nothing.
_CPU_TOKENS = (512, 1024)
_CUDA_TOKENS = (4096, 65536)
# Share of the device's memory that one batch's states may take.
_MEMORY_SHARE = 0.05
# Rows that are written together. A pass over one token of each reads every weight once; from so many rows on, products
# take longer than that, on a GPU a little later.
_CPU_ROWS = 64
_CUDA_ROWS = 512
# Share of the device's memory that their keys and values may take.
_CACHE_SHARE = 0.1
# How PyTorch's allocator for CPUs says that there is no memory, in a plain RuntimeError.
_CPU_ALLOCATOR = "DefaultCPUAllocator"


def token_budget(trunk: nn.Module, device: torch.device, prefix: int = 0) -> int:
    """Tokens of one forward pass in prediction.

    A token takes about ``4 (6 H + 3 I + 3 A P)`` bytes at the widest points of a layer, in float32: the residual
    stream, queries, keys, values and what they give (H hidden size); the two inner products and their product (I
    intermediate size); scores against the prefix and their exponentials (A heads, P tokens of the prefix). The budget
    is what fits a twentieth of the device's memory, at least 512 and at most 1,024 on a CPU, at least 4,096 and at
    most 65,536 on a GPU.

    Args:
        trunk: the model without head.
        device: where it runs.
        prefix: P.
    """
    config: Any = trunk.config
    hidden = int(config.hidden_size)
    inner = next((int(size) for name in _INNER if (size := getattr(config, name, None))), 4 * hidden)
    scores = int(getattr(config, "num_attention_heads", 1)) * prefix
    least, most = _CUDA_TOKENS if device.type == "cuda" else _CPU_TOKENS
    fits = int(_memory_bytes(device) * _MEMORY_SHARE / (4 * (6 * hidden + 3 * inner + 3 * scores)))
    return max(least, min(most, fits))


def rows_at_once(device: torch.device) -> int:
    """The most rows that are written together."""
    return _CUDA_ROWS if device.type == "cuda" else _CPU_ROWS


def cache_budget(trunk: nn.Module, device: torch.device) -> int:
    """Tokens whose keys and values, in float32, take a tenth of the device's memory; 1 at least.

    Args:
        trunk: the model without head.
        device: where it runs.
    """
    config: Any = trunk.config
    queries = int(getattr(config, "num_attention_heads", 1))
    heads = int(getattr(config, "num_key_value_heads", None) or queries)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // queries)
    layers = int(getattr(config, "num_hidden_layers", 1))
    return max(1, int(_memory_bytes(device) * _CACHE_SHARE / (2 * 4 * layers * heads * size)))


# What architectures call the width between the two matrices of a layer's second half.
_INNER = ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim")


def _memory_bytes(device: torch.device) -> int:
    """All memory of the device, free or not: what is free changes from run to run."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def next_batch(lengths: Sequence[int], order: Sequence[int], start: int, budget_tokens: int) -> Sequence[int]:
    """The rows from a place in an order on that fit a budget of tokens; one row at least.

    Args:
        lengths: tokens of each row.
        order: positions of rows, e.g. longest first.
        start: where in the order the batch begins.
        budget_tokens: the most tokens of the batch.
    """
    end, tokens = start + 1, lengths[order[start]]
    while end < len(order) and tokens + lengths[order[end]] <= budget_tokens:
        tokens += lengths[order[end]]
        end += 1
    return order[start:end]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up, on a GPU, on a CPU, or in Python."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
    )
