"""Recipes for published work: dry with the real models, for real with small stand-ins."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from adjudge.core.runs import Run
from adjudge.experiment.runner import run_recipe
from adjudge.foresee.planning import estimate_recipe
from adjudge.models.trunk.shapes import find_shape
from adjudge.recipe.recipe import load_recipe
from tests.tiny_models import tiny_model

RECIPES = Path(__file__).parents[2] / "recipes"
EMOTION = (
    "emotion-llama3-8b-lora",
    "emotion-bert-base",
    "emotion-bert-large",
    "emotion-roberta-base",
    "emotion-roberta-large",
)
GUIDES = ("guide-full", "guide-prefix", "guide-lora", "guide-bottleneck", "guide-prompt")
TWEETS = ("tweets-llama31-8b-qlora",)
EMOTIONS = ("anger", "fear", "joy", "love", "sadness", "surprise")
# On small data and without a GPU; the rest stays as it is written.
SMALL = ("method.attention=auto", "method.precision=float32", "method.epochs=1", "method.batch_size=20")
each_recipe = pytest.mark.parametrize("name", [*EMOTION, *GUIDES, *TWEETS])
FEW = ("emotion-llama3-8b-lora", "guide-prefix")
few_recipes = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in (*EMOTION, *GUIDES, *TWEETS)],
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rows in the files of both data sets."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(0)
    words = [f"word{i}" for i in range(200)]
    for name, rows in (("train", 60), ("val", 20), ("test", 20)):
        lines = [f"i feel {' '.join(draw.choices(words, k=6))} {name}{i};{EMOTIONS[i % 6]}\n" for i in range(rows)]
        (folder / f"{name}.txt").write_text("".join(lines))
    for name, rows in (("train", 90), ("test", 20)):
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["textID", "text", "sentiment"])
            for i in range(rows):
                text = f"{' '.join(draw.choices(words, k=6))} {name}{i}"
                writer.writerow([f"{name}{i}", text, ("negative", "neutral", "positive")[i % 3]])
    return folder


def settings(name: str) -> list[str]:
    return ["data.sample={train: 60, validation: 9, test: 20}"] if name in TWEETS else []


@few_recipes
def test_the_real_model_is_planned_without_a_hub(name: str, data: Path) -> None:
    recipe = load_recipe(
        RECIPES / f"{name}.yaml", overrides=[*settings(name), "method.precision=bfloat16"], data_root=data
    )
    for method, foreseen in zip(recipe.methods, estimate_recipe(recipe), strict=True):
        shape = find_shape(str(method.model))
        assert shape is not None
        assert foreseen.memory is not None, foreseen.notes
        assert foreseen.total_parameters == pytest.approx(shape.parameters, rel=0.08)
        assert foreseen.steps > 0 or method.options.kind == "zero_shot"


@pytest.mark.slow
@each_recipe
def test_a_stand_in_runs(name: str, data: Path, tmp_path: Path, fast_verify) -> None:
    causal = "llama" in name
    model = tiny_model("llama" if causal else "bert", tmp_path / "model")
    overrides = [*settings(name), *SMALL, f"method.model={model}"]
    recipe = load_recipe(RECIPES / f"{name}.yaml", overrides=overrides, data_root=data)
    for outcome in run_recipe(recipe, runs=tmp_path / "runs"):
        assert outcome.status == "complete", outcome.error
        assert Run(outcome.folder).metrics()["test"]["accuracy"] >= 0


def test_settings_are_those_of_the_publications() -> None:
    (lora,) = (entry.options for entry in load_recipe(RECIPES / "emotion-llama3-8b-lora.yaml").methods)
    training = lora.training
    assert (lora.rank, lora.precision, lora.max_tokens, lora.attention) == (8, "float16", 512, "flash")
    assert (training.learning_rate, training.epochs, training.schedule) == (5e-5, 3, "cosine")
    assert (training.batch_size, training.accumulation, training.optimizer.kind) == (20, 4, "adam")
    tweets = load_recipe(RECIPES / "tweets-llama31-8b-qlora.yaml")
    assert tweets.data.sample == {"train": 3200, "validation": 800, "test": 300}
    assert [entry.options.kind for entry in tweets.methods] == ["zero_shot", "qlora"]
    assert "text: {text}" in str(tweets.task.prompt)


def test_one_recipe_for_each_method_of_the_guides() -> None:
    kinds = [load_recipe(RECIPES / f"{name}.yaml").methods[0].options.kind for name in GUIDES]
    assert kinds == ["full", "prefix", "lora", "bottleneck", "prompt"]
