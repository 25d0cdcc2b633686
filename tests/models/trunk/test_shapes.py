"""The table of published shapes against the models that Transformers builds from it."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

from adjudge.models.trunk.catalog import MODELS
from adjudge.models.trunk.shapes import SHAPES, Shape, find_shape

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.ids[0])


@each_shape
def test_a_model_of_this_shape_has_as_many_parameters_as_the_published_one(shape: Shape) -> None:
    with torch.device("meta"):
        build = AutoModel if shape.kind == "encoder" else AutoModelForCausalLM
        model = build.from_config(shape.config())
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters
    if shape.kind == "causal":
        assert (model.lm_head.weight is model.get_input_embeddings().weight) == shape.tied


def test_ids_are_unique_and_found_whatever_their_case() -> None:
    ids = [name.lower() for shape in SHAPES for name in shape.ids]
    assert len(set(ids)) == len(ids) >= 40
    assert find_shape("META-llama/meta-llama-3-8b") is find_shape("meta-llama/Meta-Llama-3-8B-Instruct")
    assert find_shape("meta-llama/Meta-Llama-3-8C") is None


def test_short_names_have_the_shape_of_their_source() -> None:
    for model in MODELS:
        shape = find_shape(model.id)
        assert shape is not None
        assert (shape.parameters, shape.kind, shape.license) == (model.parameters, model.kind, model.license)


def test_the_families_that_people_use_are_there() -> None:
    assert {shape.family for shape in SHAPES} >= {
        "bert", "roberta", "modernbert", "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma2", "gemma3_text",
    }  # fmt: skip
