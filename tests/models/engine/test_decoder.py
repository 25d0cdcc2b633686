"""Rows run one token further: every state against the row's own, run from its beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.adapters.soft import add_prefix, virtual_ids
from adjudge.models.engine.decoder import CachedDecoder, Decoder, RerunDecoder, decoder_of
from adjudge.models.engine.engine import row_cache as cache_module
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.engine.network import Network
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES

CAUSAL = [name for name, family in FAMILIES.items() if family.causal]
# Longest first, as the sampler gives them; two of them begin alike by more than a node's least tokens.
LONG = ref.row(30, 1)
PROMPTS = [LONG, replace(LONG, suffix_ids=(8, 9)), ref.row(11, 3), ref.row(0, 4)]
# Which prompt each row has, and which rows go on after each token.
ARRANGEMENTS = {
    "one row each": ([0, 1, 2, 3], [[0, 1, 2, 3], [0, 2, 3], [1, 2], [1], [0]]),
    "several rows": ([0, 0, 1, 1, 1, 2, 3], [[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6], [0, 2, 3, 4], [1, 2], [0, 1]]),
    "rows of one prompt": ([0, 0, 0], [[0, 1, 2], [0, 2], [0, 1], [1], [0]]),
    "one row": ([0], [[0]] * 5),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoder")


def network_of(architecture: str, folders: Path, prefix: tuple[int, ...] = ref.PREFIX) -> Network:
    engine = ref.engine_of(ref.model_folder(architecture, folders / architecture), architecture)
    network = Network(engine, ScoreHead(32, 2, pooling="last"), prefix)
    network.train(False)
    return network


@torch.inference_mode()
def differ(network: Network, decoder: Decoder, of_row: Sequence[int], going: Sequence[Sequence[int]]) -> float:
    """The largest difference of any state from the row's own, as a share of the largest state."""
    rows = [PROMPTS[prompt] for prompt in of_row]
    states, worst = decoder.start()[list(of_row)], 0.0
    for step, left in enumerate(going):
        for row, state in zip(rows, states, strict=True):
            alone = network.engine.states([row], network.prefix_ids)
            expected = alone.hidden[alone.answer[0]]
            worst = max(worst, float((state - expected).abs().max() / expected.abs().max()))
        ids = torch.tensor([20 + (7 * step + 31 * i) % 200 for i in range(len(rows))])
        order = decoder.leave(left) if len(left) < len(rows) else list(range(len(rows)))
        assert sorted(order) == list(left)
        rows = [replace(rows[i], suffix_ids=(*rows[i].suffix_ids, int(ids[i]))) for i in order]
        states = decoder.step(ids[order])
    return worst


@pytest.mark.parametrize("arrangement", list(ARRANGEMENTS))
@pytest.mark.parametrize("prefix", [ref.PREFIX, ()], ids=["prefix", "no prefix"])
@pytest.mark.parametrize("architecture", CAUSAL)
def test_cached_states_are_those_of_rows_run_alone(
    architecture: str, prefix: tuple[int, ...], arrangement: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_FIRST_TOKENS", 2)  # so that room is made twice
    network = network_of(architecture, folders, prefix)
    of_row, going = ARRANGEMENTS[arrangement]
    decoder = decoder_of(network, PROMPTS[: max(of_row) + 1], of_row)
    assert isinstance(decoder, CachedDecoder)
    assert differ(network, decoder, of_row, going) < ref.bound_of(architecture)


@pytest.mark.parametrize("adapter", ["lora", "prefix"])
def test_adapters_are_part_of_what_is_cached(adapter: str, folders: Path) -> None:
    network = network_of("llama", folders)
    trunk = network.engine.trunk
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if adapter == "lora":
            add_lora(trunk, rank=3, alpha=6, dropout=0.0, targets=linear_layers(trunk, "all"))
            for name, parameter in trunk.named_parameters():
                if "lora_B" in name:
                    parameter.data = torch.randn_like(parameter) * 0.1
        else:
            add_prefix(trunk, (3, 4, 5))
            network.prefix_ids = (*virtual_ids(trunk), *ref.PREFIX)
    trunk.double()
    of_row, going = ARRANGEMENTS["several rows"]
    assert differ(network, decoder_of(network, PROMPTS, of_row), of_row, going) < 1e-9


def test_prompts_run_in_several_passes_and_share_what_they_have_in_common(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, seen = network_of("llama", folders), []
    network.engine.trunk.register_forward_pre_hook(
        lambda _module, _args, options: seen.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    monkeypatch.setattr("adjudge.models.engine.network.token_budget", lambda *_: 70)
    of_row, _ = ARRANGEMENTS["several rows"]
    decoder = decoder_of(network, PROMPTS, of_row)
    with torch.inference_mode():
        decoder.start()
        decoder.step(torch.arange(20, 20 + len(of_row)))
    shared, own = 30, 2
    assert seen == [len(ref.PREFIX), shared + own + own, 11 + 2 + 0 + 2, len(of_row)]
    of_row, going = ARRANGEMENTS["several rows"]
    assert differ(network, decoder_of(network, PROMPTS, of_row), of_row, going) < 1e-9


@pytest.mark.parametrize("reason", ["padded", "no kept states"])
def test_where_states_cannot_be_kept_rows_run_from_their_beginning(reason: str, folders: Path) -> None:
    network = network_of("llama", folders)
    network.engine.caches = False
    if reason == "padded":
        network.engine.path = "padded"
        network.engine.trunk.set_attn_implementation("sdpa")  # type: ignore[operator]
    of_row, going = ARRANGEMENTS["several rows"]
    decoder = decoder_of(network, PROMPTS, of_row)
    assert isinstance(decoder, RerunDecoder)
    assert differ(network, decoder, of_row, going) < 1e-6  # which it gives in float32


def test_bfloat16_states_stay_near(folders: Path) -> None:
    network = network_of("llama", folders)
    network.engine.trunk.float()
    network.precision = "bfloat16"
    of_row, going = ARRANGEMENTS["several rows"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert differ(network, decoder_of(network, PROMPTS, of_row), of_row, going) < 0.05


def test_an_empty_text_is_a_prompt_too(folders: Path) -> None:
    network = network_of("llama", folders)
    decoder = decoder_of(network, [Encoded((), (7,), 0)], [0])
    with torch.inference_mode():
        assert decoder.start().shape == (1, 32)
        assert decoder.step(torch.tensor([5])).shape == (1, 32)
