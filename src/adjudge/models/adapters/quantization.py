"""NF4 with double quantisation: a base model's weights in about 4.13 bits, while what is trained stays whole.

On NVIDIA GPUs the layers of bitsandbytes hold and multiply 4-bit weights. Elsewhere the weights go through the same
rounding and are computed with as they come back: the numerics of QLoRA without its savings, and the run says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.core.optional import require
from adjudge.models.adapters.target_layers import matrix, resolve_targets

Quantization = Literal["none", "nf4"]

BLOCK = 64
SCALE_BLOCK = 256
# The quantiles of a normal distribution, scaled to [-1, 1], with an exact zero (Dettmers et al. 2023, appendix E).
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


@dataclass(frozen=True)
class Quantized:
    """A tensor in NF4, its scales in 8 bits.

    Attributes:
        codes: ``[n / 2]`` two 4-bit indices into `NF4` a byte, the first in the upper half.
        scales: ``[b]`` 8-bit indices into `dynamic_codes`, one for each block of 64 values.
        scale_steps: ``[b / 256]`` largest scale of 256 blocks, their mean taken off.
        scale_mean: that mean.
        shape: of the tensor.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    scale_steps: torch.Tensor
    scale_mean: torch.Tensor
    shape: torch.Size

    @property
    def n_bytes(self) -> int:
        """Memory of what is kept."""
        parts = (self.codes, self.scales, self.scale_steps, self.scale_mean)
        return sum(part.numel() * part.element_size() for part in parts)


def quantize(tensor: torch.Tensor) -> Quantized:
    """Round a tensor to NF4 in blocks of 64, and the blocks' largest values to 8 bits in blocks of 256.

    Args:
        tensor: any shape, as many values as a multiple of 2.
    """
    flat = tensor.detach().float().reshape(-1)
    blocks = _in_blocks(flat, BLOCK)
    largest = blocks.abs().amax(dim=1)
    indices = _nearest(blocks / largest.clamp_min(torch.finfo(torch.float32).tiny)[:, None], _codebook()).reshape(-1)
    indices = indices[: flat.numel()].reshape(-1, 2)
    mean = largest.mean()
    centred = _in_blocks(largest - mean, SCALE_BLOCK)
    steps = centred.abs().amax(dim=1)
    scales = _nearest(centred / steps.clamp_min(torch.finfo(torch.float32).tiny)[:, None], dynamic_codes())
    codes = (indices[:, 0] << 4 | indices[:, 1]).to(torch.uint8)
    return Quantized(codes, scales.reshape(-1)[: len(largest)].to(torch.uint8), steps, mean, tensor.shape)


def dequantize(packed: Quantized) -> torch.Tensor:
    """The values that a quantised tensor stands for, float32."""
    steps = packed.scale_steps.repeat_interleave(SCALE_BLOCK)[: len(packed.scales)]
    largest = dynamic_codes()[packed.scales.long()] * steps + packed.scale_mean
    indices = torch.stack([packed.codes >> 4, packed.codes & 15], dim=1).reshape(-1).long()
    values = _codebook()[indices] * largest.repeat_interleave(BLOCK)[: len(indices)]
    return values.reshape(packed.shape)


@lru_cache(maxsize=1)
def dynamic_codes() -> torch.Tensor:
    """The 256 values of the signed 8-bit dynamic type, ascending (Dettmers 2016; Dettmers et al. 2022, section 1.3).

    After the sign, zeros count powers of ten and what is left of the bits divides ``[0.1, 1]`` evenly.
    """
    codes = [0.0, 1.0]
    for bits in range(7):
        edges = torch.linspace(0.1, 1, 2**bits + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (bits - 6)
        codes += middles.tolist() + (-middles).tolist()
    return torch.tensor(sorted(codes))


@lru_cache(maxsize=1)
def _codebook() -> torch.Tensor:
    return torch.tensor(NF4)


def _in_blocks(flat: torch.Tensor, size: int) -> torch.Tensor:
    """``[n]`` as ``[ceil(n / size), size]``, filled up with zeros."""
    return nn.functional.pad(flat, (0, -flat.numel() % size)).reshape(-1, size)


def _nearest(values: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
    """Index of the nearest entry of an ascending book."""
    return torch.bucketize(values.contiguous(), (book[:-1] + book[1:]) / 2)


def quantize_trunk(trunk: nn.Module, device: torch.device) -> dict[str, Any]:
    """Quantise every weight matrix of a trunk's layers, in place: attention, MLPs and a mixture's experts.

    Embeddings, norms, routers and whatever is put on the trunk later (adapters, head) stay whole.

    Args:
        trunk: freshly loaded, float32, on the CPU.
        device: what it will run on.

    Returns:
        Facts: what was quantised and its share of the trunk's weights, and how it is computed with.

    Raises:
        ConfigError: experts on a GPU, whose layers hold linear layers alone; the share left out is named.
        MissingExtraError: a GPU without bitsandbytes.
    """
    targets = resolve_targets(trunk, "all")
    names = [*(f"{name}.weight" for name in targets.layers), *targets.parameters]
    sizes = {name: p.numel() for name, p in trunk.named_parameters()}
    share = sum(sizes[name] for name in names) / sum(sizes.values())
    trunk.requires_grad_(False)
    if device.type == "cuda":
        if targets.parameters:
            left = sum(sizes[name] for name in targets.parameters) / sum(sizes.values())
            raise ConfigError(
                f"qlora on a GPU would leave {left:.0%} of the weights unquantised: the experts of a mixture are no "
                "linear layers, which is all that bitsandbytes' 4-bit layers take; use lora"
            )
        _into_4bit_layers(trunk, targets.layers)
        compute = "4-bit layers of bitsandbytes"
    else:
        with torch.no_grad():
            for name in targets.layers:
                weight = matrix(trunk.get_submodule(name))
                weight.copy_(dequantize(quantize(weight)))
            for name in targets.parameters:
                weight = trunk.get_parameter(name)
                weight.copy_(dequantize(quantize(weight)))
        compute = "weights rounded to NF4 and computed with in full: the numerics of 4 bits, not their memory"
    return {"format": "nf4", "block": BLOCK, "scale_block": SCALE_BLOCK, "share": share, "compute": compute}


def _into_4bit_layers(trunk: Any, names: tuple[str, ...]) -> None:
    """Put bitsandbytes' layers in the place of linear ones; they quantise when they are moved to the GPU."""
    library = require("bitsandbytes", "gpu", "hold weights in 4 bits on a GPU")
    for name in names:
        parent, _, last = name.rpartition(".")
        old: Any = trunk.get_submodule(name)
        weight = matrix(old).contiguous()
        outer, inner = weight.shape
        new = library.nn.Linear4bit(
            inner,
            outer,
            bias=old.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
        )
        new.weight = library.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True)
        new.bias = old.bias
        setattr(trunk.get_submodule(parent), last, new)
    # How PEFT knows that its own 4-bit layers belong on top.
    trunk.is_loaded_in_4bit = True
