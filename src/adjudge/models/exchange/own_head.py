"""An architecture's own classification head, set to compute what a run's score head computes, where it can.

What a folder with such a head holds is ``AutoModelForSequenceClassification``, which pipelines and servers load by
themselves. Whether it can is found by trying, not by the architecture's name: most have a square layer and a squashing
function before the last layer, and a mean over tokens or a constant for each label fits few of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.engine.heads import Pooling, ScoreHead
from adjudge.models.trunk.precision import WeightsType

# How a square layer with a function behind it lets states through: times a factor so small that tanh is linear there;
# or plus a constant so large that ReLU, GELU and SiLU are the identity there. The last layer undoes both. Constants
# do not survive 16 bits.
_PASSAGES = ((1e-4, 0.0), (1.0, 64.0))
_FITS = 1e-4
_PROBES = ("", "a", "two words", "a longer text, of more than a handful of tokens: 1, 2, 3 and 4 ...")


def sequence_model(classifier: NeuralClassifier, tokenizer: Any, weights: WeightsType = "float32") -> nn.Module | None:
    """The architecture's own classifier with the same function, or None where it has none.

    Args:
        classifier: with a score head and no adapter left.
        tokenizer: of `adjudge.models.exchange.prompted.prompted_tokenizer`.
        weights: number format that it will be saved in.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    trunk: Any = classifier.network.engine.trunk
    if type(trunk.config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return None
    labels = classifier.labels
    config = plain_config(
        trunk,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type=f"{'multi' if classifier.decision.problem.multi else 'single'}_label_classification",
    )
    with torch.random.fork_rng():
        model: Any = AutoModelForSequenceClassification.from_config(config)
    model.eval()
    inner = next((module for module in model.modules() if type(module) is type(trunk)), model.base_model)
    missing = fill(inner, trunk)
    within = {module: name for name, module in inner.named_modules()}
    added = [inner.get_submodule(name) for name in sorted({name.rpartition(".")[0] for name in missing})]
    outside = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in within]
    head = [module for module in added if isinstance(module, nn.Linear)] + outside
    for scale, constant in _PASSAGES:
        if constant and weights != "float32":
            continue
        if _set_head(head, classifier, scale, constant) and _same_function(model, tokenizer, classifier):
            return cast(nn.Module, model)
    return None


@torch.no_grad()
def _set_head(layers: list[Any], classifier: NeuralClassifier, scale: float, constant: float) -> bool:
    """Set one linear layer, or a square one before it; whether they are such and can hold the numbers."""
    weight, bias = scaled_head(classifier)
    if not 1 <= len(layers) <= 2 or layers[-1].weight.shape != weight.shape:
        return False
    if len(layers) == 2:
        first = layers[0]
        if first.weight.shape[0] != first.weight.shape[1] or (constant and first.bias is None):
            return False
        first.weight.copy_(torch.eye(len(first.weight)) * scale)
        if first.bias is not None:
            first.bias.fill_(constant)
        weight = weight / scale
        bias = bias - constant * weight.sum(dim=1)
    if layers[-1].bias is None and bool(bias.any()):
        return False
    layers[-1].weight.copy_(weight)
    if layers[-1].bias is not None:
        layers[-1].bias.copy_(bias)
    return True


@torch.inference_mode()
def _same_function(model: Any, tokenizer: Any, classifier: NeuralClassifier) -> bool:
    batch = tokenizer(list(_PROBES), padding=True, truncation=True, return_tensors="pt")
    try:
        logits = model(**batch).logits.numpy()
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False  # one that wants other inputs than a text's ids
    if logits.shape != (len(_PROBES), len(classifier.labels)):
        return False
    found = classifier.decision.probabilities(logits)
    return float(np.abs(found - classifier.predict_proba(_PROBES)).max()) <= _FITS


def fitting_head(classifier: NeuralClassifier, tokenizer: Any, weights: WeightsType = "float32") -> str | None:
    """The options of a score head that the architecture's own could compute, as in a recipe, or None.

    Args:
        classifier: as for `sequence_model`; its head is left as it is.
        tokenizer: likewise.
        weights: likewise.
    """
    poolings: tuple[Pooling, ...] = ("last",) if classifier.network.engine.causal else ("first", "last")
    for bias, pooling in product((True, False), poolings):
        with _another_head(classifier, pooling, bias=bias):
            if sequence_model(classifier, tokenizer, weights) is not None:
                return f"head: {{pooling: {pooling}{'' if bias else ', bias: false'}}}"
    return None


@contextmanager
def _another_head(classifier: NeuralClassifier, pooling: Pooling, *, bias: bool) -> Iterator[None]:
    """A head with the same weights that pools otherwise, for a while."""
    own, offset = classifier.network.head, classifier.offset
    if not isinstance(own, ScoreHead):
        raise TypeError(f"a {type(own).__name__} pools no states")
    with torch.random.fork_rng():
        other = ScoreHead(own.linear.in_features, own.linear.out_features, pooling=pooling, bias=bias)
    with torch.no_grad():
        other.linear.weight.copy_(own.linear.weight.cpu())
        if bias:
            other.linear.bias.copy_(torch.arange(len(other.linear.bias)) / 4)  # one that shows, whatever the run's is
    classifier.network.head = other.to(own.linear.weight.device).eval()
    classifier.offset = np.zeros_like(offset)
    try:
        yield
    finally:
        classifier.network.head, classifier.offset = own, offset


def scaled_head(classifier: NeuralClassifier) -> tuple[torch.Tensor, torch.Tensor]:
    """The score layer ``[C, H]`` and ``[C]`` with offset and temperature inside: its probabilities are calibrated."""
    head = classifier.network.head
    if not isinstance(head, ScoreHead):
        raise ConfigError("this form needs a score head; the classifier has a label head")
    weight, temperature = head.linear.weight.detach().cpu(), classifier.temperature
    bias = weight.new_zeros(len(weight)) if head.linear.bias is None else head.linear.bias.detach().cpu()
    return weight / temperature, (bias + torch.from_numpy(classifier.offset)) / temperature


def plain_config(trunk: Any, **changes: Any) -> Any:
    """A copy of a trunk's config without what this process has set in it."""
    config = type(trunk.config).from_dict({**trunk.config.to_dict(), **changes})
    config.dtype = torch.float32
    return config


def fill(model: nn.Module, trunk: nn.Module) -> set[str]:
    """Copy a trunk's weights into a model of its kind; the names of those that the trunk has not (a pooler's).

    Raises:
        ConfigError: the model has no place for some.
    """
    outcome = model.load_state_dict(trunk.state_dict(), strict=False)
    if outcome.unexpected_keys:
        raise ConfigError(f"the trunk's weights do not fit its architecture: {outcome.unexpected_keys[:3]}")
    return set(outcome.missing_keys)
