"""An optimiser's state as flat tensors and back."""

from __future__ import annotations

from typing import Any

import torch

from adjudge.train.state import _flat, _nested


def test_nested_states_come_back_as_they_were() -> None:
    """Quantised moments lie one dictionary deeper, and counts of steps may be plain numbers."""
    moments: dict[int, dict[str, Any]] = {
        0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 2)},
        1: {"step": 3, "quantised": {"state1": torch.arange(4, dtype=torch.uint8), "absmax1": torch.ones(1)}},
    }
    tensors, numbers = _flat(moments)
    assert sorted(tensors) == ["0.exp_avg", "0.step", "1.quantised.absmax1", "1.quantised.state1"]
    assert numbers == {"1.step": 3}
    found = _nested(tensors, numbers)
    assert found.keys() == moments.keys()
    assert found[1]["step"] == 3
    assert found[0]["exp_avg"] is moments[0]["exp_avg"]
    assert found[1]["quantised"]["state1"] is moments[1]["quantised"]["state1"]
