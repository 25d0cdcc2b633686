"""A model's first layers alone: the states are those inside the whole model, and everything made of a run knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from adjudge.core.errors import ConfigError
from adjudge.foresee.dry_model import dry_model
from adjudge.methods import METHODS
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.derive.combining import combine_adapters
from adjudge.models.derive.folding import merge_adapter
from adjudge.models.engine.engine import Engine
from adjudge.models.exchange.huggingface import export_adapter
from adjudge.models.trunk.depth import keep_first_layers
from adjudge.models.trunk.loading import load_pretrained
from tests.methods.test_adapted import fit
from tests.methods.test_lora import VALIDATION
from tests.models.engine.one_by_one import BATCHES, PREFIX
from tests.tiny_models import FAMILIES, tiny_model

DEPTH, KEPT = 4, 3
FINAL_NORMS = ("norm", "final_norm", "final_layer_norm")


def inside(folder: Path, rows: list[list[int]]) -> torch.Tensor:
    """The whole model's states behind its layer `KEPT`, through its final norm where it has one, last tokens."""
    model = AutoModel.from_pretrained(folder).eval()
    norm = next((getattr(model, name) for name in FINAL_NORMS if hasattr(model, name)), torch.nn.Identity())
    with torch.no_grad():
        return torch.stack(
            [norm(model(torch.tensor([row]), output_hidden_states=True).hidden_states[KEPT][0, -1]) for row in rows]
        )


@pytest.mark.parametrize("architecture", FAMILIES)
def test_states_are_those_inside_the_whole_model(architecture: str, tmp_path: Path) -> None:
    folder = tiny_model(architecture, tmp_path / "model", layers=DEPTH)
    found = load_pretrained(str(folder), first_layers=KEPT)
    assert found.located.layers == KEPT
    engine = Engine(found.trunk.eval(), causal=FAMILIES[architecture].causal)
    assert engine.path == "packed"
    batch = BATCHES["mixed lengths"]
    with torch.no_grad():
        states = engine.states(batch, PREFIX)
    rows = [[*PREFIX, *row.text_ids, *row.suffix_ids] for row in batch]
    torch.testing.assert_close(states.hidden[states.answer], inside(folder, rows), rtol=1e-4, atol=1e-5)


def test_all_layers_are_the_model_itself(tmp_path: Path) -> None:
    folder = tiny_model("gemma3", tmp_path / "model")
    whole, same = load_pretrained(str(folder)), load_pretrained(str(folder), first_layers=2)
    assert same.located.layers is None
    assert whole.trunk.config.layer_types == same.trunk.config.layer_types
    weights = whole.trunk.state_dict()
    assert all(torch.equal(part, weights[name]) for name, part in same.trunk.state_dict().items())


@pytest.mark.parametrize("layers", [0, 5, 400])
def test_layers_that_are_not_there_are_refused(layers: int, tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model", layers=DEPTH)
    with pytest.raises(ConfigError, match=f"got {layers}; this model has 4 layers, so allowed are 1 to 4"):
        load_pretrained(str(folder), first_layers=layers)


def test_layers_that_read_lower_ones_keys_are_refused() -> None:
    config = AutoConfig.for_model("gemma3n_text", num_hidden_layers=4, num_kv_shared_layers=2)
    with pytest.raises(ConfigError, match="upper layers read keys and values"):
        keep_first_layers(config, 2)


def test_lists_that_speak_of_every_layer_are_cut_with_them() -> None:
    config = AutoConfig.for_model("smollm3", num_hidden_layers=8)
    keep_first_layers(config, 3)
    assert (len(config.no_rope_layers), len(config.layer_types), config.num_hidden_layers) == (3, 3, 3)


@pytest.mark.parametrize("method", ["lora", "bottleneck", "full", "prefix"])
def test_what_was_trained_is_what_is_loaded(method: str, tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "base", layers=DEPTH)
    fitted = fit(method, folder, head={"kind": "label", "after_layer": KEPT})
    assert fitted.facts["model"]["layers"] == KEPT
    fitted.classifier.save(tmp_path / "saved")
    loaded = NeuralClassifier.load(tmp_path / "saved")
    assert loaded.base.layers == KEPT
    assert loaded.network.engine.trunk.config.num_hidden_layers == KEPT
    expected = fitted.classifier.predict_logits(VALIDATION.texts)
    np.testing.assert_array_equal(loaded.predict_logits(VALIDATION.texts), expected)


def test_a_head_that_writes_reads_behind_that_layer_too(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "base", layers=DEPTH)
    fitted = fit("lora", folder, head={"kind": "generate", "after_layer": KEPT}).classifier
    fitted.save(tmp_path / "saved")
    loaded = NeuralClassifier.load(tmp_path / "saved")
    assert loaded.network.engine.trunk.config.num_hidden_layers == KEPT
    assert isinstance(fitted, NeuralClassifier)
    assert loaded.replies(VALIDATION.texts) == fitted.replies(VALIDATION.texts) is not None


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    """One base model, and LoRA classifiers on its first layers and on all of them."""
    root = tmp_path_factory.mktemp("depths")
    base = tiny_model("llama", root / "base", layers=DEPTH)
    saved: dict[Any, Path] = {"base": base}
    for layers in (KEPT, None):
        fit("lora", base, head={"kind": "label", "after_layer": layers}).classifier.save(root / f"{layers}")
        saved[layers] = root / f"{layers}"
    return saved


def test_a_merged_model_has_these_layers_alone(runs: dict[Any, Path], tmp_path: Path) -> None:
    merged = merge_adapter(NeuralClassifier.load(runs[KEPT]), "float32")
    merged.save(tmp_path / "merged")
    again = NeuralClassifier.load(tmp_path / "merged")
    assert again.network.engine.trunk.config.num_hidden_layers == KEPT
    expected = NeuralClassifier.load(runs[KEPT]).predict_logits(VALIDATION.texts)
    np.testing.assert_allclose(again.predict_logits(VALIDATION.texts), expected, atol=1e-5)


def test_an_adapter_alone_cannot_say_so_and_depths_do_not_mix(runs: dict[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stands on the first 3 layers"):
        export_adapter(NeuralClassifier.load(runs[KEPT]), tmp_path)
    both = [NeuralClassifier.load(runs[layers]) for layers in (KEPT, None)]
    with pytest.raises(ConfigError, match="different base model"):
        combine_adapters(both, "linear")


def test_planning_counts_these_layers_alone(runs: dict[Any, Path]) -> None:
    for layers in (KEPT, None):
        options = METHODS.load("lora").config(model=str(runs["base"]), head={"kind": "label", "after_layer": layers})
        foreseen = dry_model(options, 3, "float32")
        real = NeuralClassifier.load(runs[layers]).network.engine.trunk
        assert foreseen.config.num_hidden_layers == (layers or DEPTH)
        assert [p.shape for p in foreseen.trunk.parameters()] == [p.shape for p in real.parameters()]
