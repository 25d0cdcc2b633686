"""Torch's global generator, borrowed and given back."""

from __future__ import annotations

import pytest
import torch

from adjudge.models.trunk.seeding import seeded_torch


def draw(seed: int, stream: str) -> torch.Tensor:
    with seeded_torch(seed, stream):  # type: ignore[arg-type]
        return torch.rand(4)


def test_a_block_is_seeded_by_seed_and_stream() -> None:
    assert torch.equal(draw(1, "init"), draw(1, "init"))
    assert not torch.equal(draw(1, "init"), draw(2, "init"))
    assert not torch.equal(draw(1, "init"), draw(1, "dropout"))


def test_the_callers_state_is_given_back_also_after_an_error() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    draw(9, "init")

    def fail() -> None:
        with seeded_torch(1, "init"):
            torch.rand(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.rand(2), expected)
