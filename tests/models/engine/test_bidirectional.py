"""A causal model made to look both ways: packed against Transformers' own mask on single rows, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from adjudge.core.errors import ConfigError
from adjudge.models.engine.engine import Engine
from tests.models.engine import one_by_one as ref

ROWS = ref.BATCHES["mixed lengths"]


def both_ways(trunk: Any) -> Any:
    trunk.config.is_causal = False
    for module in trunk.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    return trunk


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt_neox", "mistral", "gemma3"])
def test_packed_states_and_gradients_are_those_of_single_rows(architecture: str, tmp_path: Path) -> None:
    folder = ref.model_folder(architecture, tmp_path / architecture)
    alone = both_ways(ref.load_trunk(folder, torch.float64))
    trunk = ref.load_trunk(folder, torch.float64)
    engine = Engine(trunk, causal=True, bidirectional=True)
    assert (engine.path, engine.reason, engine.causal, engine.caches) == ("packed", "", False, False)
    expected = ref.reference(alone, ROWS, ref.PREFIX, (), causal=False)
    found = ref.parts(engine.states(ROWS, ref.PREFIX))
    for a, b in zip(found, expected, strict=True):
        ref.assert_close(a, b, 1e-9, architecture)
    wanted, got = ref.gradients(alone, expected), ref.gradients(trunk, found)
    assert got.keys() == wanted.keys()
    for name in wanted:
        ref.assert_close(got[name], wanted[name], 1e-9, name)


def test_the_first_token_sees_the_last_and_no_neighbour(tmp_path: Path) -> None:
    folder = ref.model_folder("llama", tmp_path / "llama")
    engine = Engine(ref.load_trunk(folder, torch.float64), causal=True, bidirectional=True)
    one, other, neighbour = ref.row(5, 1), ref.row(5, 2), ref.row(5, 3)
    first = [engine.states([row, neighbour], ref.PREFIX).hidden[:1] for row in (one, other)]
    assert not torch.allclose(first[0], first[1])
    alone = engine.states([one], ref.PREFIX).hidden
    torch.testing.assert_close(engine.states([one, neighbour], ref.PREFIX).hidden[: len(alone)], alone)


def test_the_prompt_does_not_see_the_labels_words(tmp_path: Path) -> None:
    """A word's later tokens look back at the prompt, which must answer as if they were not there."""
    folder = ref.model_folder("llama", tmp_path / "llama")
    engine = Engine(ref.load_trunk(folder, torch.float64), causal=True, bidirectional=True)
    bare = ref.parts(engine.states(ROWS, ref.PREFIX))
    behind = ref.parts(engine.states(ROWS, ref.PREFIX, ref.PATHS))
    other = ref.parts(engine.states(ROWS, ref.PREFIX, ((90,), (91,), (90, 92))))
    for a, b in ((behind[0], bare[0]), (behind[2], bare[2])):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(behind[1], other[1])
    # The third path is (70, 72): its node must not see 71, which stands between.
    changed = ref.parts(engine.states(ROWS, ref.PREFIX, ((70,), (88,), (70, 72))))
    torch.testing.assert_close(changed[1][2::3], behind[1][2::3], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(changed[1][1::3], behind[1][1::3])


def test_a_model_that_stays_causal_is_refused() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=300, hidden_size=32, n_layer=1, n_head=4)
    trunk = AutoModel.from_config(config)
    reference = trunk.forward

    def causal(*args: Any, **options: Any) -> Any:
        trunk.config.is_causal = True
        return reference(*args, **options)

    trunk.forward = causal
    with pytest.raises(ConfigError, match=r"BloomModel stays causal .* leave out attention: bidirectional"):
        Engine(trunk, causal=True, bidirectional=True)
