"""A prefix's states kept and put in front of later rows: the same logits, and never those of other weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adjudge.core.errors import AdjudgeWarning
from adjudge.models.engine.engine import Engine
from adjudge.models.engine.heads import LabelHead, ScoreHead
from adjudge.models.engine.network import Network
from adjudge.models.engine.prefix_cache import PrefixCache, PrefixStates, trunk_version
from adjudge.prompts.trie import build_trie
from tests.models.engine import one_by_one as ref
from tests.tiny_models import FAMILIES

CAUSAL = [name for name, family in FAMILIES.items() if family.causal]
LONG_PREFIX = tuple(20 + (7 * i) % 200 for i in range(3 * ref.WINDOW))  # longer than any window


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefix_cache")


def network_of(architecture: str, folders: Path, prefix: tuple[int, ...] = ref.PREFIX) -> Network:
    engine = ref.engine_of(ref.model_folder(architecture, folders / architecture), architecture)
    trie = build_trie([(70, 71), (70, 72), (80,)], 1)
    rows = torch.randn(len(trie.token_ids), 32, generator=torch.Generator().manual_seed(1))
    return Network(engine, LabelHead(rows, trie).to(ref.dtype_of(architecture)), prefix)


@torch.inference_mode()
def cached_and_not(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    network.train(False)
    rows = ref.BATCHES["mixed lengths"]
    kept = network.prefix_cache.get(network.engine, network.prefix_ids, "float32")
    found = network.head(network.engine.states(rows, network.prefix_ids, network.head.paths, kept))
    return found, network.logits(rows)


@pytest.mark.parametrize("prefix", [ref.PREFIX, LONG_PREFIX], ids=["short", "long"])
@pytest.mark.parametrize("architecture", CAUSAL)
def test_cached_logits_are_the_uncached_ones(architecture: str, prefix: tuple[int, ...], folders: Path) -> None:
    network = network_of(architecture, folders, prefix)
    assert network.engine.caches, network.engine.cache_reason
    found, expected = cached_and_not(network)
    ref.assert_close(found, expected, ref.bound_of(architecture), architecture)


def test_prediction_runs_the_prefix_once_over_batches_and_calls(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, seen = network_of("llama", folders), []
    network.engine.trunk.register_forward_pre_hook(
        lambda _module, _args, options: seen.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    monkeypatch.setattr("adjudge.models.engine.network.token_budget", lambda *_: 20)
    rows = [ref.row(n, n) for n in (9, 9, 9, 9)]
    own = len(rows[0].text_ids) + len(rows[0].suffix_ids) + len(network.head.paths)
    network.predict_logits(rows, 3)
    assert seen == [len(ref.PREFIX), *[own] * 4]
    network.predict_logits(rows[:1], 3)
    assert seen[5:] == [own]
    layers, heads, size = 2, 2, 8
    assert network.prefix_cache.n_bytes == layers * 2 * len(ref.PREFIX) * heads * size * 8  # float64


def logits(network: Network) -> np.ndarray:
    return network.predict_logits(ref.BATCHES["mixed lengths"], 3)


def fresh(network: Network) -> np.ndarray:
    network.prefix_cache.clear()
    return logits(network)


def write_weight(trunk: Any) -> None:
    with torch.no_grad():
        trunk.layers[0].self_attn.k_proj.weight.mul_(1.5)


def load_weights(trunk: Any) -> None:
    trunk.load_state_dict({name: part * 1.1 for name, part in trunk.state_dict().items()})


def replace_weight(trunk: Any) -> None:
    layer = trunk.layers[0].self_attn.v_proj
    layer.weight.data = layer.weight.data * 1.5


@pytest.mark.parametrize("change", [write_weight, load_weights, replace_weight])
def test_other_weights_are_answered_by_other_states(change: Any, folders: Path) -> None:
    network = network_of("llama", folders)
    before = logits(network)
    change(network.engine.trunk)
    after = logits(network)
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(after, fresh(network))


def test_adapters_added_written_switched_and_scaled_are_other_weights(folders: Path) -> None:
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    network = network_of("llama", folders)
    trunk: Any = network.engine.trunk
    base = logits(network)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules=["k_proj", "v_proj"], init_lora_weights=False)
        inject_adapter_in_model(config, trunk)
    trunk.double()
    adapted = logits(network)
    assert not np.allclose(adapted, base)
    layers = [module for module in trunk.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    np.testing.assert_array_equal(logits(network), base)
    for layer in layers:
        layer.enable_adapters(True)
        layer.scale_layer(2.0)
    scaled = logits(network)
    assert not np.allclose(scaled, adapted)
    np.testing.assert_array_equal(scaled, fresh(network))


def test_prefix_and_precision_have_states_of_their_own(folders: Path) -> None:
    network = network_of("llama", folders)
    network.engine.trunk.float()
    network.head.float()
    first = logits(network)
    network.prefix_ids = (99, *ref.PREFIX[1:])
    assert not np.allclose(logits(network), first)
    network.prefix_ids, network.precision = ref.PREFIX, "bfloat16"
    np.testing.assert_array_equal(logits(network), fresh(network))


def test_training_forgets_the_states_and_runs_the_prefix(folders: Path) -> None:
    network = network_of("llama", folders)
    logits(network)
    assert network.prefix_cache.n_bytes
    network.train(True)
    assert not network.prefix_cache.n_bytes
    network.logits(ref.BATCHES["mixed lengths"]).sum().backward()
    gradient = network.engine.trunk.get_input_embeddings().weight.grad
    assert all(gradient[i].abs().sum() > 0 for i in ref.PREFIX)
    torch.optim.AdamW(network.engine.trunk.parameters(), lr=0.1, fused=True).step()  # which counts no writes
    np.testing.assert_array_equal(logits(network), fresh(network))


def test_a_version_stays_while_nothing_changes(folders: Path) -> None:
    network = network_of("llama", folders)
    before = trunk_version(network.engine.trunk)
    logits(network)
    network.train(False)
    assert trunk_version(network.engine.trunk) == before


def test_without_a_prefix_or_for_an_encoder_nothing_is_kept(folders: Path) -> None:
    network = network_of("llama", folders, ())
    logits(network)
    assert network.prefix_cache.n_bytes == 0
    encoder = ref.engine_of(ref.model_folder("bert", folders / "bert"), "bert")
    assert not encoder.caches
    head = ScoreHead(32, 3, pooling="mean").double()
    assert Network(encoder, head, ref.PREFIX).predict_logits([ref.row(3, 1)], 3).shape == (1, 3)


@pytest.mark.parametrize("fault", ["wrong", "fails"])
def test_a_cached_form_that_is_not_exact_is_not_used_and_the_engine_says_why(
    fault: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Engine.prefix_states

    def broken(engine: Engine, prefix_ids: tuple[int, ...]) -> PrefixStates:
        if fault == "fails":
            raise RuntimeError("no such states")
        states = original(engine, prefix_ids)
        states.layers.reverse()
        return states

    monkeypatch.setattr(Engine, "prefix_states", broken)
    if fault == "fails":
        with pytest.warns(AdjudgeWarning, match="the cached prefix fails with RuntimeError: no such states"):
            network = network_of("llama", folders)
    else:
        network = network_of("llama", folders)
    assert network.engine.path == "packed"
    assert not network.engine.caches
    assert {"wrong": "differ by", "fails": "no such states"}[fault] in network.engine.cache_reason
    expected = network.logits(ref.BATCHES["mixed lengths"]).detach().float().numpy()
    np.testing.assert_allclose(logits(network), expected, rtol=1e-6)


def test_memory_of_the_old_states_is_given_back_before_new_ones_are_made(folders: Path) -> None:
    engine = network_of("llama", folders).engine
    cache, held = PrefixCache(), []

    class Watched:
        trunk = engine.trunk

        def prefix_states(self, prefix_ids: tuple[int, ...]) -> PrefixStates:
            held.append(cache.n_bytes)
            return engine.prefix_states(prefix_ids)

    with torch.inference_mode():
        first = cache.get(Watched(), (5, 6), "float32")
        assert cache.get(Watched(), (5, 6), "float32") is first
        cache.get(Watched(), (5, 7), "float32")
    assert held == [0, 0]
