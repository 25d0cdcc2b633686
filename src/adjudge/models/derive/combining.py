"""Several LoRA adapters of one base model as one set of weights: linear, TIES and DARE.

The changes of the weights themselves are combined, ``dW = s B A`` of each adapter, not their factors: sums of factors
hold cross terms that no adapter has. Matrices are trimmed one by one, where the papers trim a whole model at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from adjudge.core.decision import Decision
from adjudge.core.errors import ConfigError
from adjudge.models.adapters.lowrank import unfuse_lora
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.derive.folding import refuse_rounded
from adjudge.models.engine.heads import Head, ScoreHead
from adjudge.models.trunk.seeding import seeded_torch

How = Literal["linear", "ties", "dare_linear", "dare_ties"]
HOWS: tuple[How, ...] = get_args(How)


def default_weights(how: How, count: int) -> list[float]:
    """Equal shares of a sum; 1 each for TIES, which takes the mean of those that agree."""
    return [1.0 if how.endswith("ties") else 1 / count] * count


def combine_adapters(
    classifiers: Sequence[NeuralClassifier],
    how: How,
    *,
    weights: Sequence[float] | None = None,
    density: float = 0.5,
    seed: int = 0,
) -> NeuralClassifier:
    """Combine the adapters of classifiers that share base, labels, problem, prompt and kind of head.

    ``linear``: the weighted sum. ``ties`` (Yadav et al. 2023): the largest entries of each, a sign elected for each
    entry, the mean of those that agree with it. ``dare_linear`` and ``dare_ties`` (Yu et al. 2024): entries dropped at
    random and the rest scaled up, then as before. Heads are averaged by the same weights.

    Args:
        classifiers: at least two, with plain LoRA; they are changed in place, do not use them afterwards.
        how: see above.
        weights: of the adapters; default: `default_weights`.
        density: share of each change's entries that is kept, above 0 and below 1; ``linear`` keeps all.
        seed: whose stream ``sample`` draws what DARE drops.

    Returns:
        A classifier whose trunk is saved whole, not calibrated.

    Raises:
        ConfigError: the classifiers differ in what they must share, an adapter is no plain LoRA, a base was rounded
            for training, or a number is out of its range.
    """
    shares = list(weights) if weights is not None else default_weights(how, len(classifiers))
    if len(shares) != len(classifiers) or not sum(shares) > 0:
        raise ConfigError(f"weights must be {len(classifiers)} numbers with a sum above 0, got {shares}")
    if not 0 < density < 1:
        raise ConfigError(f"density must lie between 0 and 1, both left out, got {density}")
    _refuse_unlike(classifiers)
    layers = [_lora_layers(classifier) for classifier in classifiers]
    first = classifiers[0]
    first.network.train(True)  # weights change: whatever is kept of their states is forgotten
    with torch.no_grad(), seeded_torch(seed, "sample"):
        for name in dict.fromkeys(name for owned in layers for name in owned):
            changes = [_change(owned.get(name)) for owned in layers]
            known = next(change for change in changes if change is not None)
            filled = [torch.zeros_like(known) if change is None else change for change in changes]
            _add(first, name, combined(filled, how, shares, density))
        _average_heads([classifier.network.head for classifier in classifiers], shares)
    trunk = first.network.engine.trunk
    trunk.requires_grad_(False)
    if hasattr(trunk, "adjudge_adapter"):
        del trunk.adjudge_adapter
    first.network.train(False)
    uncalibrated = Decision(first.decision.problem)
    return replace(first, adaptation="full", quantization="none", temperature=1.0, decision=uncalibrated)


def combined(changes: list[torch.Tensor], how: How, weights: Sequence[float], density: float) -> torch.Tensor:
    """One change of a matrix from several of the same shape; see `combine_adapters`."""
    from peft.utils import merge_utils

    shares = torch.tensor(list(weights), dtype=changes[0].dtype, device=changes[0].device)
    if how == "linear":
        change: torch.Tensor = merge_utils.task_arithmetic(changes, shares)
        return change
    ways: dict[How, Any] = {
        "ties": merge_utils.ties,
        "dare_linear": merge_utils.dare_linear,
        "dare_ties": merge_utils.dare_ties,
    }
    made: torch.Tensor = ways[how](changes, shares, density)
    return made


def _refuse_unlike(classifiers: Sequence[NeuralClassifier]) -> None:
    first, problems = classifiers[0], []
    for number, other in enumerate(classifiers[1:], start=2):
        pairs = {
            "base model": (_base(first), _base(other)),
            "labels": (first.labels, other.labels),
            "problem": (first.decision.problem, other.decision.problem),
            "prompt": (first.prompt.hash(), other.prompt.hash()),
            "kind of head": (_kind(first), _kind(other)),
            "attention": (first.attention, other.attention),
        }
        different = [name for name, (ours, theirs) in pairs.items() if ours != theirs]
        problems += [f"adapter 1 and adapter {number}: different {', '.join(different)}"] if different else []
    if len(classifiers) < 2:
        problems.append(f"combining needs at least two adapters, got {len(classifiers)}")
    if problems:
        raise ConfigError(problems)


def _base(classifier: NeuralClassifier) -> tuple[str, str | None, int | None, str]:
    base = classifier.base
    return base.name, classifier.base_hash, base.layers, classifier.quantization


def _kind(classifier: NeuralClassifier) -> str:
    head = classifier.network.head
    return f"score, {head.pooling}" if isinstance(head, ScoreHead) else "label"


def _lora_layers(classifier: NeuralClassifier) -> dict[str, Any]:
    """A trunk's LoRA layers by name.

    Raises:
        ConfigError: there are none, or some whose change of the weights is not their product (DoRA, experts); or
            the base was rounded.
    """
    from peft.tuners.lora import Linear, LoraLayer

    trunk = classifier.network.engine.trunk
    refuse_rounded(trunk)
    unfuse_lora(trunk)
    layers = {name: module for name, module in trunk.named_modules() if isinstance(module, LoraLayer)}
    odd = [name for name, module in layers.items() if type(module) is not Linear or any(module.use_dora.values())]
    if not layers or odd:
        what = f"{odd[0]} is no plain LoRA layer" if odd else f"the adaptation is {classifier.adaptation!r}"
        raise ConfigError(f"only plain LoRA adapters on linear layers can be combined: {what}")
    return layers


def _change(layer: Any) -> torch.Tensor | None:
    """``s B A`` of a layer ``[out, in]``, or None where an adapter leaves it alone."""
    if layer is None:
        return None
    change: torch.Tensor = layer.get_delta_weight(layer.active_adapters[0]).detach()
    return change


def _add(classifier: NeuralClassifier, name: str, change: torch.Tensor) -> None:
    """Add a change to the weights of a linear layer, and put the plain layer in the place of an adapter's."""
    trunk = classifier.network.engine.trunk
    module: Any = trunk.get_submodule(name)
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    base.weight.add_(change.to(base.weight))
    parent, _, last = name.rpartition(".")
    setattr(trunk.get_submodule(parent), last, base)


def _average_heads(heads: Sequence[Head], weights: Sequence[float]) -> None:
    """Weighted mean of the heads, into the first."""
    states = [head.state_dict() for head in heads]
    total = sum(weights)
    for name, tensor in states[0].items():
        # Heads that are equal stay as they are, to the bit.
        if any(not torch.equal(state[name], tensor) for state in states):
            mixed = sum(weight / total * state[name] for weight, state in zip(weights, states, strict=True))
            tensor.copy_(mixed)
