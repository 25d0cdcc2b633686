"""Which number format the trunk computes in, by what the hardware is good at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from adjudge.core.protocols import BatchTolerance

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Resolved = Literal["float32", "bfloat16", "float16"]
WeightsType = Literal["float32", "bfloat16", "float16"]
"""What a trunk's weights are saved in."""

# A text's numbers are rounded the same in any batch where the device's matrix products give a row the same whatever
# stands beside it, which a probe sees when a model is loaded; single rows are then within 1e-4 in every precision that
# was measured. Where products depend on their number of rows, rounding takes another course from the first layer on:
# 0.013 to 0.057 in bfloat16 with SmolLM2-135M and MiniLM-L6; float16 has three bits more.
BATCH_TOLERANCES: Mapping[Resolved, BatchTolerance] = {
    "float32": BatchTolerance(stated=1e-4, most=1e-3),
    "bfloat16": BatchTolerance(stated=1e-3, most=1e-1),
    "float16": BatchTolerance(stated=1e-3, most=2e-2),
}
"""By precision, how far a probability may depend on a text's neighbours: where products are so, and at most."""

# On a CPU oneDNN compiles a bfloat16 product for every number of tokens, half a megabyte each, and batches of texts
# seldom have equal numbers. It keeps 1,024 of them unless told before the first one; a step has some 40.
_KEPT_PRODUCTS = "128"
PRODUCTS_BYTES = 640 * 2**20
"""What they take: with SmolLM2-135M 0.67 to 0.98 GB (`full`, `lora`) were resident beyond all else that is counted."""


def resolve_precision(wanted: Precision, device: torch.device) -> Resolved:
    """``auto`` is bfloat16 where there are units for it, else float16 on a GPU and float32 on a CPU."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether the CPU has units for bfloat16 (AMX or AVX512-bf16); emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def compute(precision: Resolved, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to the precision: weights stay float32, matrix products run in it.

    Gradients of float16 need a scaled loss (`adjudge.train.optimizers.gradient_scaler`).
    """
    if precision == "float32":
        return nullcontext()
    if device.type == "cpu":
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KEPT_PRODUCTS)
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
