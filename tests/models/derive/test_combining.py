"""Combined adapters, against hand-worked numbers and against PEFT's own combinations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS, Setting
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.derive.combining import HOWS, combine_adapters, combined
from adjudge.models.derive.folding import merge_adapter
from adjudge.models.exchange.huggingface import export_huggingface
from tests.tiny_models import tiny_model

LABELS = ("good", "bad")
ROWS = Split("train", ["good one", "bad one", "good two", "bad"], ["good", "bad"] * 2, [str(i) for i in range(4)])
TEXTS = ["good", "bad two", "neither"]


def fit(model: Path, seed: int, **options: object) -> NeuralClassifier:
    method = METHODS.load("lora")
    training = {"epochs": 3.0, "batch_size": 2, "learning_rate": 0.05}
    given = {"model": str(model), "precision": "float32", "rank": 2, "training": training, **options}
    classifier = method.fit(
        ROWS, ROWS, validate(method.config, given, "t"), Setting(Task(name="t"), LABELS, seed)
    ).classifier
    assert isinstance(classifier, NeuralClassifier)
    return classifier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("combine") / "llama")


@pytest.fixture(scope="module")
def saved(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp("saved") / str(seed) for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        fit(model, seed).save(folder)
    return folders


def test_ways_by_hand() -> None:
    one, two = torch.tensor([[4.0, -1.0, 3.0, 0.5]]), torch.tensor([[2.0, 3.0, -5.0, 0.1]])
    torch.testing.assert_close(
        combined([one, two], "linear", [0.5, 0.25], 0.5), torch.tensor([[2.5, 0.25, 0.25, 0.275]])
    )
    # The two largest of each stay: (4, 0, 3, 0) and (0, 3, -5, 0); the elected signs are +, +, -.
    assert combined([one, two], "ties", [1.0, 1.0], 0.5).tolist() == [[4.0, 3.0, -5.0, 0.0]]


def test_dare_drops_at_random_and_keeps_the_mean() -> None:
    ones = torch.ones(200, 200)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = combined([ones, ones], "dare_linear", [0.5, 0.5], 0.25)
    assert set(found.unique().tolist()) == {0.0, 2.0, 4.0}
    assert float(found.mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("how", "peft"), [("linear", "cat"), ("ties", "ties_svd")])
def test_weights_are_those_of_pefts_combination(how: str, peft: str, saved: list[Path], model: Path) -> None:
    """PEFT's cat is the exact sum; its ties_svd has the same change where the rank holds it whole."""
    from peft import PeftModel
    from transformers import AutoModel

    base = AutoModel.from_pretrained(model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, str(saved[0] / "adapter"), adapter_name="a")
    adapted.load_adapter(str(saved[1] / "adapter"), adapter_name="b")
    weights = [0.7, 0.6]
    extra = {} if peft == "cat" else {"density": 0.5, "svd_rank": 16}
    adapted.add_weighted_adapter(["a", "b"], weights, "both", combination_type=peft, **extra)
    adapted.set_adapter("both")
    expected = adapted.merge_and_unload().state_dict()
    found = combine_adapters([NeuralClassifier.load(path) for path in saved], how, weights=weights)
    state = found.network.engine.trunk.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        if how == "linear" or min(tensor.shape) <= 16:
            torch.testing.assert_close(state[name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("how", HOWS)
def test_an_adapter_with_itself_changes_nothing_where_nothing_is_dropped(how: str, saved: list[Path]) -> None:
    pair = [NeuralClassifier.load(saved[0]) for _ in range(2)]
    before = NeuralClassifier.load(saved[0]).predict_logits(TEXTS)
    after = combine_adapters(pair, how, density=0.999999).predict_logits(TEXTS)
    assert after == pytest.approx(before, abs=2e-2 if "dare" in how or "ties" in how else 1e-5)


def test_the_same_seed_gives_the_same_weights(saved: list[Path]) -> None:
    found = [
        combine_adapters([NeuralClassifier.load(path) for path in saved], "dare_ties", seed=seed) for seed in (3, 3, 4)
    ]
    states = [one.network.engine.trunk.state_dict() for one in found]
    same = [all(torch.equal(states[0][name], other[name]) for name in states[0]) for other in states[1:]]
    assert same == [True, False]


def test_what_cannot_be_combined_is_refused(saved: list[Path], model: Path, tmp_path: Path) -> None:
    first = NeuralClassifier.load(saved[0])
    with pytest.raises(ConfigError, match="at least two"):
        combine_adapters([first], "linear")
    with pytest.raises(ConfigError, match="density"):
        combine_adapters([first, NeuralClassifier.load(saved[1])], "ties", density=1.0)
    with pytest.raises(ConfigError, match="sum above 0"):
        combine_adapters([first, NeuralClassifier.load(saved[1])], "linear", weights=[1.0, -1.0])
    other = fit(tiny_model("llama", tmp_path / "llama", seed=1), 0)
    with pytest.raises(ConfigError, match="adapter 1 and adapter 2: different base model"):
        combine_adapters([first, other], "linear")
    label = fit(model, 0, head={"kind": "label"})
    with pytest.raises(ConfigError, match="different kind of head"):
        combine_adapters([first, label], "linear")


def test_a_base_that_training_rounded_is_neither_merged_nor_combined_nor_exported(model: Path, tmp_path: Path) -> None:
    """They would be those of other weights than the saved classifier's."""
    trained = fit(model, 0, precision="bfloat16")
    for make in (
        merge_adapter,
        lambda one: combine_adapters([one, one], "linear"),
        lambda one: export_huggingface(one, tmp_path / "exported"),
    ):
        with pytest.raises(ConfigError, match=r"rounded for training \(.* is bfloat16\).*; save it, load it"):
            make(trained)
    trained.save(tmp_path / "saved")
    expected = trained.predict_logits(TEXTS)
    merged = merge_adapter(NeuralClassifier.load(tmp_path / "saved"), "float32")
    assert {parameter.dtype for parameter in merged.network.engine.trunk.parameters()} == {torch.float32}
    torch.testing.assert_close(merged.predict_logits(TEXTS), expected, atol=2e-2, rtol=0)
