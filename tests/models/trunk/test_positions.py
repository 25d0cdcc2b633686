"""How long an input a model has positions for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn
from transformers import AutoModel

from adjudge.models.trunk.positions import first_positions, longest_input, stated_length
from tests.tiny_architectures import tiny_config


@pytest.mark.parametrize(("length", "stated"), [(512, 512), (-1, None), (0, None), (None, None)])
def test_a_length_is_a_length(length: Any, stated: int | None) -> None:
    assert stated_length(SimpleNamespace(max_position_embeddings=length)) == stated
    assert stated_length(SimpleNamespace()) is None


def test_xlnet_has_no_longest_input() -> None:
    trunk = AutoModel.from_config(tiny_config("xlnet"))
    assert trunk.config.max_position_embeddings == -1
    assert longest_input(trunk) is None


def test_positions_behind_the_padding_row_are_fewer() -> None:
    config = tiny_config("roberta")
    config.pad_token_id = 5
    trunk = AutoModel.from_config(config)
    assert first_positions(trunk) == (6,)
    assert longest_input(trunk) == 512 - 6
    assert longest_input(AutoModel.from_config(tiny_config("gpt2"))) == 512
    assert first_positions(nn.Embedding(4, 2)) == ()
