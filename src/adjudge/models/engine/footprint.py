"""Memory of a training step, found by executing it on tensors without data.

The trunk is built on the meta device from its configuration. One step of the packed engine then runs on PyTorch's fake
tensors, which have shapes, types and lifetimes and no content: every operation is dispatched as it would be, so the
count holds for any architecture and adapter, mixed precision included, without a formula of its own.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adjudge.core.types import Encoded
from adjudge.models.engine.attention import ATTENTION_NAME, packed_attention
from adjudge.models.engine.packed import PackedBatch, pack
from adjudge.models.trunk.depth import keep_first_layers
from adjudge.models.trunk.loading import model_kind

# A CPU process keeps blocks below 32 MiB in its heap, where aligned blocks of many sizes leave holes behind: measured
# with glibc, resident memory is 1.4 times the live bytes. Larger blocks are mapped one by one.
HEAP_BLOCK = 32 * 2**20
HEAP_WASTE = 1.4


@dataclass(frozen=True)
class Footprint:
    """What one step holds beyond weights and optimiser, at its worst moment.

    Attributes:
        step_bytes: live bytes of a forward and backward pass, the gradients among them.
        forward_bytes: likewise of a forward pass that keeps nothing for a backward pass.
    """

    step_bytes: float
    forward_bytes: float


@dataclass(frozen=True)
class DryBatch:
    """A batch by its lengths in tokens, and how it is run.

    Attributes:
        own_tokens: of each row behind the prefix, B of them.
        prefix_tokens: shared by all rows; 0 for an encoder.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        checkpointing: whether layers are computed again in the backward pass.
        heap: blocks below `HEAP_BLOCK` count `HEAP_WASTE` times, as they do in a CPU process.
    """

    own_tokens: Sequence[int]
    prefix_tokens: int
    precision: str
    checkpointing: bool = False
    heap: bool = True


def dry_trunk(config: Any, adapt: Callable[[nn.Module], None]) -> nn.Module:
    """A trunk of this configuration on the meta device, adapted: no memory, no weights.

    Args:
        config: a Transformers configuration.
        adapt: freezes weights and adds adapters, in place.
    """
    from transformers import AutoModel

    with torch.device("meta"):
        trunk: nn.Module = AutoModel.from_config(config)
        if getattr(trunk, "pooler", None) is not None:
            del trunk.pooler  # pooling is the head's business
            trunk.register_module("pooler", None)
        adapt(trunk)
    return trunk


def footprint(config: Any, adapt: Callable[[nn.Module], None], batch: DryBatch, *, whole: bool = False) -> Footprint:
    """Execute one packed step without data.

    Layers repeat, so a deep trunk is run with few of them, twice, and the rest is extrapolated.

    Args:
        config: a Transformers configuration.
        adapt: as in `dry_trunk`.
        batch: the rows.
        whole: run every layer, where they are not treated alike.

    Raises:
        RuntimeError: the architecture does something that shapes alone do not decide.
    """
    depth, period = int(config.num_hidden_layers), _period(config)
    shared = getattr(config, "num_kv_shared_layers", None)  # by layers that are not alike
    if whole or shared or depth < 3 * period:
        return _run(dry_trunk(config, adapt), batch)
    few, more = (_run(dry_trunk(_shallow(config, n * period), adapt), batch) for n in (1, 2))
    steps = (depth - period) / period
    return Footprint(
        few.step_bytes + steps * (more.step_bytes - few.step_bytes),
        more.forward_bytes,
    )


def _period(config: Any) -> int:
    """After how many layers their kinds repeat."""
    kinds = getattr(config, "layer_types", None) or [None]
    return next((n for n in range(1, len(kinds)) if kinds[n:] == kinds[:-n]), len(kinds))


def _shallow(config: Any, layers: int) -> Any:
    changed = copy.deepcopy(config)
    keep_first_layers(changed, layers)
    return changed


def _run(trunk: nn.Module, batch: DryBatch) -> Footprint:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, packed_attention)
    trunk.set_attn_implementation(ATTENTION_NAME)  # type: ignore[operator]
    rows = [Encoded((0,) * (max(n, 1) - 1), (0,), max(n, 1) - 1) for n in batch.own_tokens]
    causal = model_kind(trunk.config) == "causal"
    if batch.checkpointing:
        # Renamed in Transformers 5.20; the older name goes away in 6.
        new, old = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        getattr(trunk, new if hasattr(trunk, new) else old)()
    # One for each pass, since masks are kept with a batch; made here, because laying out looks at values.
    layouts = [pack(rows, (0,) * batch.prefix_tokens, causal=causal) for _ in range(2)]
    # The grouped product of a mixture's experts is known for fake bfloat16 alone: all is run in it and counted double.
    mixture = any(parameter.ndim > 2 and name.count(".") > 1 for name, parameter in trunk.named_parameters())
    scale = 2.0 if mixture and batch.precision == "float32" else 1.0
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        _materialise(trunk, torch.bfloat16 if mixture else None)

        def run(packed: PackedBatch) -> torch.Tensor:
            half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(batch.precision)
            with torch.autocast("cpu", dtype=half) if half and not mixture else nullcontext():
                output = trunk(
                    input_ids=mode.from_tensor(packed.ids)[None],
                    position_ids=mode.from_tensor(packed.positions)[None],
                    use_cache=False,
                    packed=packed,
                )
            hidden: torch.Tensor = output.last_hidden_state
            return hidden.float().mean()

        trunk.train(False)
        with torch.no_grad(), _LiveBytes(heap=batch.heap) as forward:
            run(layouts[0])
        trunk.train()
        with _LiveBytes(heap=batch.heap) as step:
            loss = run(layouts[1])
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
    kept = step.peak if loss.requires_grad else forward.peak
    return Footprint(scale * kept, scale * forward.peak)


def _materialise(trunk: nn.Module, dtype: torch.dtype | None) -> None:
    """Replace every meta tensor by a fake one on the CPU, shared tensors by one; call it under the fake mode.

    Args:
        trunk: changed in place.
        dtype: of all floating tensors, or None to keep each one's own.
    """
    made: dict[int, torch.Tensor] = {}
    for module in trunk.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
                    empty = torch.empty(tensor.shape, dtype=wanted)
                    learns = tensor.requires_grad
                    made[id(tensor)] = nn.Parameter(empty, learns) if isinstance(tensor, nn.Parameter) else empty
                table[name] = made[id(tensor)]  # type: ignore[assignment]


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that operations make, from their making to their end."""

    def __init__(self, *, heap: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0.0
        self._heap = heap
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and _key(leaf) not in given:
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        key, size = storage._cdata, float(storage.nbytes())
        if key in self._known:
            return
        if self._heap and size < HEAP_BLOCK:
            size *= HEAP_WASTE
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: float) -> None:
        self._known.discard(key)
        self.live -= size


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
