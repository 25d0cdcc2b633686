"""FlashAttention-2 (Dao 2023) over rows of different lengths: which kernel can run, and how rows are handed to it.

The ``flash_attn`` package is taken where it is installed, else PyTorch's own FlashAttention kernels in their form for
rows of different lengths. Both see each row's keys behind those of the shared prefix, without padding and without a
mask; causality is aligned to the end of a row.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

from adjudge.core.errors import ConfigError

# Both kernels are written for tensor cores of the Ampere generation and later.
LEAST_CAPABILITY = (8, 0)
_HEAD_SIZE = 256


@dataclass(frozen=True)
class RowLayout:
    """How queries and keys of a batch's rows lie in their tensors.

    Attributes:
        query_ends: ``[B + 1]`` int32, where each row's queries begin and the last one's end.
        key_ends: likewise of its keys, the prefix's in front of each row.
        keys: ``[sum(P + L)]`` key of the batch (prefix first) for each key of a row.
        longest_query: tokens of the longest row.
        longest_key: the same with the prefix.
    """

    query_ends: torch.Tensor
    key_ends: torch.Tensor
    keys: torch.Tensor
    longest_query: int
    longest_key: int


Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, RowLayout, float, tuple[int, int]], torch.Tensor]
"""queries, keys, values ``[T, heads, D]``, rows, scale, window (left, right; -1: no limit) -> ``[T, heads, D]``."""


@dataclass(frozen=True)
class FlashKernel:
    """A kernel that can run here.

    Attributes:
        name: with its version, for the facts of a run.
        attend: runs it; gradients flow.
    """

    name: str
    attend: Attend


@dataclass(frozen=True)
class Needs:
    """What a run asks of its attention.

    Attributes:
        head_size: width of a head.
        dropout: share of the attention weights that is dropped in training.
        trie: whether labels of several tokens are scored, which see parts of each other.
        packed: whether rows are packed.
    """

    head_size: int
    dropout: float = 0.0
    trie: bool = False
    packed: bool = True


def choose_kernel(device: torch.device, precision: str, needs: Needs) -> FlashKernel:
    """The kernel that ``attention: flash`` will run.

    Args:
        device: where the model is.
        precision: what it computes in.
        needs: what the run asks of it.

    Raises:
        ConfigError: there is none for this device, precision or head size; says what to do.
    """
    remedy = "set attention: auto"
    if device.type != "cuda":
        raise ConfigError(f"attention: flash runs on NVIDIA GPUs, and this run is on {device.type!r}; {remedy}")
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        found = ".".join(map(str, capability))
        raise ConfigError(f"attention: flash needs compute capability 8.0, this GPU has {found}; {remedy}")
    if precision not in ("bfloat16", "float16"):
        raise ConfigError(
            f"attention: flash computes in bfloat16 or float16, not {precision}; set precision, or {remedy}"
        )
    if problem := _unmet(needs):
        raise ConfigError(f"attention: flash {problem}; {remedy}")
    if importlib.util.find_spec("flash_attn") is not None:
        return FlashKernel(f"flash_attn {metadata.version('flash_attn')}", _package)
    if not torch.backends.cuda.is_flash_attention_available():
        raise ConfigError(
            f"attention: flash: this build of PyTorch has no FlashAttention; pip install flash-attn, or {remedy}"
        )
    return FlashKernel(f"FlashAttention of PyTorch {torch.__version__}", _own)


def _unmet(needs: Needs) -> str:
    """What the kernels cannot do of what is asked, or an empty string."""
    if needs.head_size > _HEAD_SIZE:
        return f"takes heads up to {_HEAD_SIZE} wide, and this model's are {needs.head_size}"
    if needs.dropout:
        return f"has no dropout of attention weights, and this model drops {needs.dropout:g} of them"
    if needs.trie:
        return "takes labels of one token (or head: {kind: score}), and some labels here have several"
    return "" if needs.packed else "needs the packed engine, which this model cannot use"


def lay_out(lengths: torch.Tensor, prefix: int) -> RowLayout:
    """Where the rows' queries and keys lie.

    Args:
        lengths: ``[B]`` tokens of each row, in the order of the tokens, on the CPU.
        prefix: tokens of the shared prefix, P; 0 for none.
    """
    return lay_out_paths([lengths], [torch.arange(prefix)], prefix)


def lay_out_paths(lengths: Sequence[torch.Tensor], paths: Sequence[torch.Tensor], prefix: int) -> RowLayout:
    """Where queries and keys lie of rows that stand behind different paths of a tree.

    Args:
        lengths: of each family of rows with one path, tokens of each row in the order of the tokens, on the CPU.
        paths: of each family, where the keys before its rows are.
        prefix: P, tokens of the shared prefix; the first row's first key is at P.
    """
    sizes = torch.cat(list(lengths))
    ends = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    before = [path for family, path in zip(lengths, paths, strict=True) for _ in range(len(family))]
    keys = [
        torch.cat([path, prefix + torch.arange(start, start + length)])
        for path, start, length in zip(before, ends[:-1].tolist(), sizes.tolist(), strict=True)
    ]
    key_sizes = torch.tensor([len(one) for one in keys])
    key_ends = torch.cat([key_sizes.new_zeros(1), key_sizes.cumsum(0)])
    return RowLayout(ends.int(), key_ends.int(), torch.cat(keys), int(sizes.max()), int(key_sizes.max()))


def to_device(rows: RowLayout, device: torch.device) -> RowLayout:
    """The same with its tensors on a device."""
    ends, key_ends, keys = (part.to(device, non_blocking=True) for part in (rows.query_ends, rows.key_ends, rows.keys))
    return RowLayout(ends, key_ends, keys, rows.longest_query, rows.longest_key)


def flash_attention(
    kernel: FlashKernel,
    states: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    front: tuple[torch.Tensor, torch.Tensor] | None,
    rows: RowLayout,
    *,
    scale: float,
    window: tuple[int, int],
) -> torch.Tensor:
    """Attention of each row to the prefix and to itself.

    Args:
        kernel: from `choose_kernel`.
        states: queries ``[heads, T, D]``, keys and values ``[kv_heads, T, D]`` of the rows' tokens.
        front: keys and values ``[kv_heads, P, D]`` of the prefix, or None.
        rows: from `lay_out`.
        scale: factor of the scores.
        window: tokens seen to the left and to the right; (-1, 0) is causal, (-1, -1) both ways.

    Returns:
        ``[T, heads, D]``.
    """
    q, k, v = (state.transpose(0, 1) for state in states)
    if front is not None:
        k, v = (torch.cat([part.transpose(0, 1), own]) for part, own in zip(front, (k, v), strict=True))
        k, v = (part.index_select(0, rows.keys) for part in (k, v))
    return kernel.attend(q.contiguous(), k.contiguous(), v.contiguous(), rows, scale, window)


def _package(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: RowLayout, scale: float, window: tuple[int, int]
) -> torch.Tensor:
    library: Any = importlib.import_module("flash_attn")
    found: torch.Tensor = library.flash_attn_varlen_func(
        q, k, v, rows.query_ends, rows.key_ends, rows.longest_query, rows.longest_key,
        softmax_scale=scale, causal=window[1] == 0, window_size=window,
    )  # fmt: skip
    return found


def _own(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: RowLayout, scale: float, window: tuple[int, int]
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    found: torch.Tensor = varlen_attn(
        q, k, v, rows.query_ends, rows.key_ends, rows.longest_query, rows.longest_key,
        scale=scale, window_size=window, enable_gqa=True,
    )  # type: ignore[assignment]  # fmt: skip
    return found
