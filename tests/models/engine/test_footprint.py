"""Memory of a step without data, against steps with data."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig

from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, resolve_targets
from adjudge.models.engine.attention import ATTENTION_NAME, packed_attention
from adjudge.models.engine.footprint import HEAP_WASTE, DryBatch, dry_trunk, footprint
from adjudge.models.engine.packed import pack
from adjudge.models.trunk.shapes import find_shape

OWN, PREFIX = [9, 12, 5, 30], 6


def config(**changes: object) -> object:
    sizes = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    return AutoConfig.for_model("llama", **{**sizes, **changes})


def low_rank(trunk: nn.Module) -> None:
    add_lora(trunk, rank=2, alpha=4.0, dropout=0.0, targets=resolve_targets(trunk, "all"))


def all_learn(trunk: nn.Module) -> None:
    trunk.requires_grad_(True)


class Counter(TorchDispatchMode):
    """Bytes of live storages in a real step, by the same rule."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {
            t.untyped_storage()._cdata for t in torch.utils._pytree.tree_leaves((args, kwargs)) if torch.is_tensor(t)
        }
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if torch.is_tensor(tensor) and tensor.untyped_storage()._cdata not in given:
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known:
                    self.known.add(storage._cdata)
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self.drop, storage._cdata, storage.nbytes())
        return out

    def drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def real_peak(adapt) -> int:
    from transformers import AttentionInterface, AutoModel

    AttentionInterface.register(ATTENTION_NAME, packed_attention)
    trunk = AutoModel.from_config(config())
    adapt(trunk)
    trunk.set_attn_implementation(ATTENTION_NAME)
    trunk.train()
    rows = [Encoded(tuple(range(n - 1)), (1,), n - 1) for n in OWN]
    batch = pack(rows, tuple(range(PREFIX)), causal=True)
    gc.collect()
    with Counter() as counter:
        output = trunk(input_ids=batch.ids[None], position_ids=batch.positions[None], use_cache=False, packed=batch)
        loss = output.last_hidden_state.float().mean()
        del output
        loss.backward()
    return counter.peak


@pytest.mark.parametrize("adapt", [all_learn, low_rank])
def test_a_step_without_data_holds_what_a_real_one_holds(adapt) -> None:
    dry = footprint(config(), adapt, DryBatch(OWN, PREFIX, "float32", heap=False))
    assert dry.step_bytes == pytest.approx(real_peak(adapt), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("adapt", [all_learn, low_rank])
def test_few_layers_tell_of_many(adapt) -> None:
    deep = config(num_hidden_layers=7)
    batch = DryBatch(OWN, PREFIX, "float32", heap=False)
    short, whole = footprint(deep, adapt, batch), footprint(deep, adapt, batch, whole=True)
    assert short.step_bytes == pytest.approx(whole.step_bytes, rel=0.01)


@pytest.mark.slow
def test_layers_of_several_kinds_are_taken_by_their_period() -> None:
    shape = find_shape("google/gemma-3-270m")
    assert shape is not None
    found = shape.config()
    found.hidden_size, found.intermediate_size, found.vocab_size, found.head_dim = 32, 64, 300, 8
    found.num_hidden_layers, found.layer_types = 18, found.layer_types[:6] * 3
    batch = DryBatch(OWN, PREFIX, "float32", heap=False)
    short, whole = footprint(found, low_rank, batch), footprint(found, low_rank, batch, whole=True)
    assert short.step_bytes == pytest.approx(whole.step_bytes, rel=0.02)


@pytest.mark.slow
def test_recomputed_layers_and_half_precision_need_less() -> None:
    deep = config(num_hidden_layers=4, hidden_size=64, intermediate_size=256)
    plain = footprint(deep, low_rank, DryBatch(OWN, PREFIX, "float32", heap=False))
    recomputed = footprint(deep, low_rank, DryBatch(OWN, PREFIX, "float32", checkpointing=True, heap=False))
    assert recomputed.step_bytes < 0.7 * plain.step_bytes
    wide = [40] * 20
    full = footprint(deep, low_rank, DryBatch(wide, PREFIX, "float32", heap=False))
    half = footprint(deep, low_rank, DryBatch(wide, PREFIX, "bfloat16", heap=False))
    assert half.step_bytes < full.step_bytes


def test_the_heap_wastes_on_small_blocks() -> None:
    exact = footprint(config(), all_learn, DryBatch(OWN, PREFIX, "float32", heap=False))
    held = footprint(config(), all_learn, DryBatch(OWN, PREFIX, "float32", heap=True))
    assert held.step_bytes == pytest.approx(HEAP_WASTE * exact.step_bytes)


def test_a_mixture_is_run_without_data() -> None:
    sizes = {"num_local_experts": 4, "num_experts_per_tok": 2}
    plain = {
        k: v
        for k, v in config().to_dict().items()
        if k.startswith(("vocab", "hidden_size", "interm", "num_", "max_p"))
    }
    mixture = AutoConfig.for_model("mixtral", **plain, **sizes)
    assert footprint(mixture, all_learn, DryBatch(OWN, PREFIX, "float32")).step_bytes > 0


def test_nothing_is_allocated_for_the_largest_model() -> None:
    shape = find_shape("meta-llama/Llama-2-70b-hf")
    assert shape is not None
    trunk = dry_trunk(shape.config(), low_rank)
    assert all(parameter.is_meta for parameter in trunk.parameters())
    assert sum(parameter.numel() for parameter in trunk.parameters()) > 68e9
