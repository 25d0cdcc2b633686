"""`plan`: what is foreseen, against what a run then takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adjudge.core.errors import ModelNotFoundError
from adjudge.foresee.planning import estimate_recipe
from adjudge.methods import METHODS
from adjudge.models.trunk.precision import PRODUCTS_BYTES
from adjudge.recipe.recipe import load_recipe
from tests.tiny_models import tiny_bert, tiny_llama, tiny_model

MEASURE = """
import json, sys
from pathlib import Path
import psutil
import torch, peft, transformers  # what a run imports is the process's, not the training's
from transformers import AutoModelForCausalLM, LlamaForCausalLM
from adjudge.foresee.estimate import estimate_run
from adjudge.experiment.measure import PeakMemory
from adjudge.experiment.load import read_inputs
from adjudge.recipe.recipe import load_recipe, plan
from adjudge.methods import METHODS, Setting
recipe = load_recipe(Path(sys.argv[1]))
inputs, (planned,) = read_inputs(recipe), plan(recipe)
if sys.argv[2] == "plan":
    memory = estimate_run(planned, inputs).memory
    print(json.dumps(memory.total - memory.process))
else:
    method = METHODS.load(planned.method)
    with PeakMemory(0.01) as memory:
        method.fit(inputs.train, inputs.validation, planned.options, Setting(recipe.task, inputs.labels, 0))
    print(json.dumps(memory.peak_bytes - memory.start_bytes))
"""


def call(recipe: Path, what: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(recipe), what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return float(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_memory_is_within_a_fifth_of_the_measured_peak(kind: str, recipe_file, tmp_path) -> None:
    model = tiny_model("llama", tmp_path / "model", hidden=384, layers=6, vocab=12_000)
    training = {"epochs": 1, "batch_size": 32, "evaluations_per_epoch": 2}
    method = {"kind": kind, "model": str(model), "precision": "float32", "prompt_style": "plain", "training": training}
    recipe = recipe_file(rows=400, methods=[method])
    assert call(recipe, "plan") == pytest.approx(call(recipe, "run"), rel=0.2)


@pytest.mark.slow
def test_a_probe_foresees_the_time_within_three_tenths(recipe_file, tmp_path) -> None:
    model = tiny_model("llama", tmp_path / "model", hidden=256, layers=4, vocab=2000)
    training = {"epochs": 1, "batch_size": 8, "evaluations_per_epoch": 1, "validation_rows": 60}
    method = {"kind": "lora", "model": str(model), "precision": "float32", "training": training}
    recipe = load_recipe(recipe_file(rows=700, methods=[method]))
    (foreseen,) = estimate_recipe(recipe, probe=True)
    from adjudge.experiment.runner import run_recipe

    (outcome,) = run_recipe(recipe, runs=tmp_path / "runs")
    record = json.loads((outcome.folder / "run.json").read_text())
    taken = record["cost"]["train_seconds"] + record["cost"]["prediction_seconds"]
    assert foreseen.basis == "probe"
    assert foreseen.seconds == pytest.approx(taken, rel=0.3)


@pytest.mark.slow
def test_parameters_steps_and_tokens_are_those_of_the_run(recipe_file, tmp_path, fast_verify) -> None:
    model = str(tiny_llama(tmp_path / "llama"))
    training = {"epochs": 1.5, "batch_size": 16, "accumulation": 2}
    methods = [
        {"kind": kind, "model": model, "training": training, "name": kind}
        for kind in (
            "full",
            "lora",
            "adalora",
            "bitfit",
            "ia3",
            "prefix",
            "prompt",
            "p_tuning",
            "bottleneck",
            "linear_probe",
        )
    ]
    recipe = load_recipe(recipe_file(methods=methods))
    from adjudge.experiment.runner import run_recipe

    for foreseen, outcome in zip(estimate_recipe(recipe), run_recipe(recipe, runs=tmp_path / "runs"), strict=True):
        assert outcome.status == "complete", outcome.error
        record = json.loads((outcome.folder / "run.json").read_text())
        assert foreseen.trainable_parameters == record["cost"]["trainable_parameters"], foreseen.name
        assert foreseen.total_parameters == record["cost"]["total_parameters"], foreseen.name
        assert foreseen.steps == record["facts"]["steps"]
        if record["method"] not in ("prefix", "prompt", "p_tuning"):  # whose virtual tokens are run as well
            assert foreseen.tokens == pytest.approx(record["cost"]["train_tokens"], rel=0.05), foreseen.name
        assert foreseen.memory is not None
        assert foreseen.seconds > 0


@pytest.mark.slow
def test_a_published_model_needs_no_hub(recipe_file) -> None:
    methods = [
        {"kind": "lora", "model": "meta-llama/Meta-Llama-3-8B", "rank": 8},
        {"kind": "full", "model": "FacebookAI/roberta-base"},
    ]
    lora, full = estimate_recipe(load_recipe(recipe_file(methods=methods)))
    assert lora.trainable_parameters == 20_971_520 + 2 * 4097
    assert any("bytes each" in note for note in lora.notes)
    assert lora.memory is not None
    assert lora.memory.total >= 4 * 8_030_261_248
    assert full.trainable_parameters == full.total_parameters


def test_a_model_that_nobody_knows_is_an_error(recipe_file) -> None:
    recipe = load_recipe(recipe_file(methods=[{"kind": "lora", "model": "nobody/nothing"}]))
    with pytest.raises(ModelNotFoundError, match="nobody/nothing"):
        estimate_recipe(recipe)


def test_four_bits_are_counted_on_a_gpu_alone(recipe_file) -> None:
    from adjudge.foresee.dry_model import dry_model

    options = load_recipe(
        recipe_file(methods=[{"kind": "qlora", "model": "meta-llama/Llama-3.1-8B"}])
    ).methods[0].options  # fmt: skip
    found = dry_model(options, 3, "float32")
    assert found.weight_bytes(on_gpu=False) == pytest.approx(4 * 8.05e9, rel=0.01)
    # 6.98 billion weights in 4.127 bits; two tables of the vocabulary in 32.
    assert found.weight_bytes(on_gpu=True) == pytest.approx(6.98e9 * 4.127 / 8 + 2 * 0.525e9 * 4 + 0.084e9, rel=0.02)


@pytest.mark.parametrize(("precision", "products"), [("float32", 0), ("bfloat16", PRODUCTS_BYTES)])
def test_products_compiled_on_a_cpu_are_counted(precision: str, products: int, recipe_file, tmp_path) -> None:
    method = {"kind": "lora", "model": str(tiny_model("llama", tmp_path / "model")), "precision": precision}
    (foreseen,) = estimate_recipe(load_recipe(recipe_file(methods=[method])))
    assert foreseen.memory is not None
    assert foreseen.memory.products == products


def test_seeds_are_estimated_once_and_baselines_only_by_a_probe(recipe_file) -> None:
    recipe = load_recipe(recipe_file(methods=[{"kind": "tfidf"}], seeds=[0, 1]))
    foreseen = estimate_recipe(recipe)
    assert [one.seconds for one in foreseen] == [None, None]
    assert foreseen[0].name != foreseen[1].name
    probed = estimate_recipe(recipe, probe=True)
    assert probed[0].seconds == probed[1].seconds > 0


@pytest.mark.slow
def test_every_method_with_a_model_can_be_foreseen(recipe_file, tmp_path) -> None:
    llama, bert = str(tiny_llama(tmp_path / "llama")), str(tiny_bert(tmp_path / "bert"))
    kinds = [kind for kind in METHODS if "model" in METHODS.load(kind).config.model_fields]
    methods = [{"kind": kind, "model": bert if kind in ("full", "embedding") else llama} for kind in kinds]
    for foreseen in estimate_recipe(load_recipe(recipe_file(methods=methods))):
        assert foreseen.memory is not None, foreseen.notes
        assert foreseen.fits
