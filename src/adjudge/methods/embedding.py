"""`embedding`: states of a frozen encoder or causal model, with logistic regression on top.

The features are standardised (mean 0, deviation 1 on train), which puts every model's states on one scale for the
penalty; the standardisation is folded into the layer afterwards, so the result is an ordinary score head.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from safetensors.numpy import load_file, save_file

from adjudge.core.atomic import atomic_path
from adjudge.core.hashing import hash_json, hash_rows
from adjudge.core.types import Split
from adjudge.methods.logistic import ClassWeight, FeatureRows, choose_c, fit_logistic
from adjudge.methods.method import Fitted, Method, MethodConfig, Setting
from adjudge.methods.targets import targets_of
from adjudge.models.assembly import assemble, choose_prompt, default_pooling, describe
from adjudge.models.classifiers.linear import Linear
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.engine.heads import Pooling, ScoreHead, pool
from adjudge.models.trunk.loading import load_pretrained
from adjudge.models.trunk.precision import Precision
from adjudge.prompts import Style

F32 = npt.NDArray[np.float32]
GRID = (1e-3, 1e-2, 1e-1, 1.0)


class EmbeddingConfig(MethodConfig):
    """Options of `embedding`."""

    kind: Literal["embedding"] = "embedding"
    model: str = Field("minilm-l6", description="an encoder or a causal model: short name, folder or hub id")
    pooling: Pooling | None = Field(None, description="mean, first or last; default: mean (encoder), last (causal)")
    prompt_style: Style = Field("bare", description="bare (the text alone), chat or plain")
    max_tokens: int = Field(128, ge=8, description="longer texts are cut to this many tokens")
    c: float | None = Field(None, gt=0, description="inverse strength of the penalty; default: chosen on validation")
    class_weight: ClassWeight = Field(None, description="weigh rows by the rarity of their label")
    precision: Precision = Field("auto", description="auto, float32, bfloat16 or float16")


def fit(train: Split, validation: Split, config: EmbeddingConfig, setting: Setting) -> Fitted:
    """Compute states once (cached between runs) and fit the linear layer."""
    pretrained = load_pretrained(config.model)
    pretrained.trunk.requires_grad_(False)
    prompt = choose_prompt(pretrained, config.prompt_style, config.max_tokens, setting)
    pooling = config.pooling or default_pooling(pretrained)
    with torch.random.fork_rng():  # the layer's random start is overwritten; the caller's generator stays
        head = ScoreHead(pretrained.hidden_size, len(setting.labels), pooling=pooling)
    classifier = assemble(pretrained, head, prompt, config.precision, "none", setting)
    began = time.perf_counter()
    states = [_features(classifier, pooling, split, setting) for split in (train, validation)]
    seconds = time.perf_counter() - began
    mean, deviation = states[0].mean(axis=0), states[0].std(axis=0) + 1e-6
    train_rows, validation_rows = (
        FeatureRows((state - mean) / deviation, targets_of(split, setting.labels, setting.task.problem))
        for state, split in zip(states, (train, validation), strict=True)
    )
    c, scores = config.c, {}
    if c is None:
        chosen = choose_c(train_rows, validation_rows, GRID, config.class_weight, setting)
        linear, c, scores = chosen.linear, chosen.c, chosen.macro_f1
    else:
        linear = fit_logistic(train_rows, len(setting.labels), c, config.class_weight)
    _fold(linear, mean, deviation, head)
    facts = describe(classifier) | {
        "c": c,
        "validation_macro_f1_by_c": {f"{value:g}": score for value, score in scores.items()},
        "pooling": pooling,
        "states_seconds": seconds,
        "trainable_parameters": linear.size,
        "total_parameters": classifier.network.n_parameters()[1],
        "train_tokens": 0,
    }
    return Fitted(classifier, {"train": len(train), "validation": len(validation) if scores else 0}, facts)


def _fold(linear: Linear, mean: F32, deviation: F32, head: ScoreHead) -> None:
    """Write the layer into the head so that it takes raw states: w / s and b - w·m / s."""
    weights = linear.weights / deviation
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(weights))
        head.linear.bias.copy_(torch.from_numpy(linear.bias - weights @ mean))


def _features(classifier: NeuralClassifier, pooling: Pooling, split: Split, setting: Setting) -> F32:
    """Pooled states ``[N, H]`` of a split, from the cache where model, prompt and texts are the same."""
    file = _cache_file(classifier, pooling, split.texts, setting.cache)
    if file is not None and file.is_file():
        return np.asarray(load_file(file)["states"], dtype=np.float32)
    states = pooled_states(classifier, pooling, split.texts, setting)
    if file is not None:
        with atomic_path(file) as temporary:
            save_file({"states": states}, temporary)
    return states


def _cache_file(
    classifier: NeuralClassifier, pooling: Pooling, texts: Sequence[str], cache: Path | None
) -> Path | None:
    if cache is None or classifier.base_hash is None:
        return None
    key = {
        "model": classifier.base_hash,
        "prompt": classifier.prompt.hash(),
        "pooling": pooling,
        "precision": classifier.network.precision,
        "texts": hash_rows((text,) for text in texts),
    }
    return cache / "states" / f"{hash_json(key)[:32]}.safetensors"


def pooled_states(classifier: NeuralClassifier, pooling: Pooling, texts: Sequence[str], setting: Setting) -> F32:
    """Pooled states ``[N, H]`` of texts, float32, in their order."""
    network = classifier.network
    encoded = classifier.prompt.encode(texts, classifier.tokenizer)
    assert isinstance(network.head, ScoreHead)  # noqa: S101 - as `fit` makes it
    width = network.head.linear.in_features
    return network.read(encoded, lambda states: pool(states, pooling), width, setting.progress, "states")


METHOD = Method("embedding", EmbeddingConfig, fit, deterministic=True)
