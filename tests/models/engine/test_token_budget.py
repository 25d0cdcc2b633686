"""How large prediction's batches are: from shape and memory, never from a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from adjudge.models.engine import token_budget as batches
from adjudge.models.engine.token_budget import next_batch, out_of_memory, token_budget
from tests.tiny_models import tiny_model

CPU = torch.device("cpu")
GIB = 2**30


def trunk_of(**options: Any) -> Any:
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model("llama", num_hidden_layers=1, vocab_size=100, **options))


LARGE = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32}


@pytest.mark.parametrize(
    ("memory", "prefix", "budget"),
    [
        (1000 * GIB, 0, 1024),  # enough is enough
        (5 * GIB, 0, int(0.05 * 5 * GIB / (4 * (6 * 4096 + 3 * 14336)))),
        (5 * GIB, 500, int(0.05 * 5 * GIB / (4 * (6 * 4096 + 3 * 14336 + 3 * 32 * 500)))),
        (GIB, 0, 512),  # and less than this is slow
    ],
)
def test_the_budget_is_what_fits_a_twentieth_of_the_memory_within_bounds(
    memory: int, prefix: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_memory_bytes", lambda _device: memory)
    assert token_budget(trunk_of(**LARGE), CPU, prefix) == budget


def test_the_budget_is_the_same_every_time(tmp_path: Path) -> None:
    trunk = AutoModel.from_pretrained(tiny_model("gpt_neox", tmp_path / "model"))
    assert len({token_budget(trunk, CPU) for _ in range(5)}) == 1
    assert 512 <= token_budget(trunk, CPU) <= 1024


def test_a_batch_takes_rows_in_order_until_the_budget_is_spent() -> None:
    lengths, order = [3, 9, 1, 5], [1, 3, 0, 2]
    assert next_batch(lengths, order, 0, 14) == [1, 3]
    assert next_batch(lengths, order, 2, 14) == [0, 2]
    assert next_batch(lengths, order, 0, 1) == [1]


def test_what_says_that_memory_is_used_up() -> None:
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
