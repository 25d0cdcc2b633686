"""How well the hardware is used: matrix operations that real tokens need, against what the machine can do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import nn

from adjudge.models.engine.network import Network
from adjudge.models.trunk.lookup import TokenTable
from adjudge.models.trunk.precision import Resolved

_SIZE = 1024
_REPEATS = 5
# Operations a second. Hardware units of a single core give several times as many in any format.
_EMULATED_BELOW = 2e9


@lru_cache(maxsize=8)
def matrix_peak(device: str, precision: Resolved) -> float:
    """Operations a second of a large matrix product on this device, the best of a few. Measured once a process.

    Where a small product shows that the format is emulated (float16 on most CPUs), a large one would take minutes.
    """
    small = _product_rate(_SIZE // 4, device, precision)
    return small if small < _EMULATED_BELOW else _product_rate(_SIZE, device, precision)


def _product_rate(size: int, device: str, precision: Resolved) -> float:
    dtype: torch.dtype = getattr(torch, precision)
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        product = matrix @ matrix
        if product.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def operations_per_token(network: Network) -> tuple[float, float]:
    """Matrix operations that one real token needs: of a forward pass, and of a training step.

    A weight costs 2 in the forward pass, 2 for the gradient of its input where something below it learns, and 2 for
    its own gradient where it learns itself: 4 for frozen weights, 6 for trained ones. Attention products and
    recomputation are not counted, so shares of the peak are lower bounds.
    """
    return trunk_operations(network.engine.trunk)


def trunk_operations(trunk: nn.Module) -> tuple[float, float]:
    """As `operations_per_token`, of a trunk that may be on the meta device."""
    weights = list(_matrices(trunk))
    forward = 2.0 * sum(size for _, size, _ in weights)
    learning = [depth for depth, _, learns in weights if learns]
    lowest = min(learning, default=float("inf"))
    if any(parameter.requires_grad for parameter in _embeddings(trunk)):
        lowest = -1
    backward = 2.0 * sum(size for depth, size, _ in weights if depth >= lowest)
    own = 2.0 * sum(size for _, size, learns in weights if learns)
    return forward, forward + backward + own


def _matrices(trunk: nn.Module) -> Iterator[tuple[int, float, bool]]:
    """Layer, number of active weights and whether they learn, of every matrix that multiplies tokens."""
    config = getattr(trunk, "config", None)
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    active = (getattr(config, "num_experts_per_tok", None) or 1) / experts if experts else 1.0
    tables = {id(parameter) for parameter in _embeddings(trunk)}
    for name, parameter in trunk.named_parameters():
        if parameter.ndim < 2 or id(parameter) in tables:
            continue
        depth = next((int(part) for part in name.split(".") if part.isdigit()), 0)
        # Experts are stacked in one tensor of three dimensions; a token passes through some of them.
        yield depth, parameter.numel() * (active if parameter.ndim == 3 else 1.0), parameter.requires_grad


def _embeddings(trunk: nn.Module) -> list[nn.Parameter]:
    """Tables that are looked up, not multiplied."""
    kinds = (nn.Embedding, TokenTable)
    return [table for module in trunk.modules() if isinstance(module, kinds) for table in module.parameters()]
