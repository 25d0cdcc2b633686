"""What a trunk takes and gives, asked of the trunk."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.trunk.trial import refuse_without_embeddings, some_ids, state_width
from tests.tiny_architectures import tiny_config


def test_the_width_is_that_of_what_comes_out() -> None:
    """OPT may end in a projection to another width than that of its layers."""
    sizes = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 300}
    trunk = AutoModel.from_config(AutoConfig.for_model("opt", **sizes, word_embed_proj_dim=16)).train()
    assert trunk.config.hidden_size == 32
    assert state_width(trunk) == 16
    assert trunk.training


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "xlnet", "roberta"])
def test_trunks_that_take_embeddings_are_let_through(architecture: str) -> None:
    refuse_without_embeddings(AutoModel.from_config(tiny_config(architecture)))


@pytest.mark.parametrize("architecture", ["bart", "esm"])
def test_trunks_that_want_ids_or_read_embeddings_otherwise_are_refused(architecture: str) -> None:
    """BART makes its decoder's input of ids; ESM leaves positions out where it is given embeddings."""
    trunk = AutoModel.from_config(tiny_config(architecture))
    with pytest.raises(ConfigError, match=f"{type(trunk).__name__} does not take learned embeddings.*use lora"):
        refuse_without_embeddings(trunk)


def test_ids_of_a_trial_are_of_the_vocabulary_and_none_that_pads() -> None:
    trunk = AutoModel.from_config(tiny_config("bert"))
    trunk.config.pad_token_id = 152
    ids = some_ids(trunk)
    assert ids.shape == (1, 8)
    assert int(ids.max()) < 300
    assert not bool((ids == 152).any())
    assert len(torch.unique(ids)) == 8
