"""Start a training from the weights of a saved classifier instead of the base model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.injected import Injected
from adjudge.models.adapters.memory import remembered
from adjudge.models.adapters.soft import virtual_tokens
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.engine.heads import ScoreHead, WritingHead

# What an adapter does with its weights; that these are the same ones, their names and shapes say too.
_FUNCTION = ("r", "init_r", "lora_alpha", "use_rslora", "feedforward_modules", "nonlinearity")


def start_from(classifier: NeuralClassifier, folder: Path) -> None:
    """Give a classifier that is about to be trained the weights of a saved one.

    Everything that a method builds must be the same: the base model, the prompt, the labels, the form of the adapter
    and of the head. So the method needs to know nothing about it.

    Args:
        classifier: changed in place.
        folder: as a classifier's `save` writes it.

    Raises:
        ConfigError: the two do not fit; every difference is named.
    """
    saved = load_classifier(folder)
    if not isinstance(saved, NeuralClassifier):
        raise ConfigError(f"{folder.parent.name}: holds no network that could be trained on; fit the method anew")
    problems = [
        f"{folder.parent.name}: cannot go on from it: {problem}" for problem in _differences(classifier, saved)
    ]
    if problems:
        raise ConfigError(problems)
    with torch.no_grad():
        head = classifier.network.head
        if not isinstance(head, WritingHead):
            for name, parameter in head.named_parameters():
                parameter.copy_(saved.network.head.get_parameter(name))
        elif head.output is not None and saved.writer is not None:
            head.output.copy_(saved.writer.readout.weight)
        for name, parameter in classifier.network.engine.trunk.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(saved.network.engine.trunk.get_parameter(name))


def _differences(new: NeuralClassifier, saved: NeuralClassifier) -> list[str]:
    """What keeps the saved weights from being the new classifier's first ones."""
    if _is_saved_in_another_form(new.network.engine.trunk):
        return [
            "what it trains is not what it saves (variant pissa saves a difference to the base; p_tuning, and prefix "
            "with a projection, save no network), so it always begins anew; train on the old and the new data together"
        ]
    mine, theirs = (_adapter(classifier) for classifier in (new, saved))
    compared = [
        ("the method adapts", new.adaptation, saved.adaptation),
        ("the base model is", new.base.name, saved.base.name),
        ("its first layers are", new.base.layers or "all", saved.base.layers or "all"),
        ("the base model's weights are rounded to", new.quantization, saved.quantization),
        ("the problem is", new.decision.problem.kind, saved.decision.problem.kind),
        ("the labels are", new.labels, saved.labels),
        ("the attention is", new.attention, saved.attention),
        ("the head is", _head(new), _head(saved)),
        *((f"the adapter's {name} is", mine.get(name) or None, theirs.get(name) or None) for name in _FUNCTION),
    ]
    differences = [
        f"{what} {ours!r} in the recipe, {other!r} in the run" for what, ours, other in compared if ours != other
    ]
    if new.prompt.describe()["hash"] != saved.prompt.describe()["hash"]:
        differences.append("the recipe's prompt is another one; use the task and the `prompt_style` that the run had")
    if differences:
        return differences
    # What writes is the trunk's or the model's own, and has its form.
    parts = ("trunk",) if isinstance(new.network.head, WritingHead) else ("trunk", "head")
    for part, ours, other in zip(parts, new.network.modules, saved.network.modules, strict=False):
        shapes = [{name: tuple(p.shape) for name, p in module.named_parameters()} for module in (ours, other)]
        different = sorted(name for name in {*shapes[0], *shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
        if different:
            name = different[0]
            differences.append(
                f"{len(different)} weights of the {part} differ, first {name}: {shapes[0].get(name)} in the recipe, "
                f"{shapes[1].get(name)} in the run; use the method's options that the run had"
            )
    return differences


def _is_saved_in_another_form(trunk: nn.Module) -> bool:
    """Whether the parameters that learn are worked into others when they are saved."""
    tokens = virtual_tokens(trunk)
    through = getattr(tokens, "encoder", None) is not None or getattr(tokens, "projection", None) is not None
    adapter = getattr(trunk, "adjudge_adapter", None)
    return through or (isinstance(adapter, Injected) and bool(adapter.start))


def _adapter(classifier: NeuralClassifier) -> dict[str, Any]:
    trunk = classifier.network.engine.trunk
    return remembered(trunk).values if hasattr(trunk, "adjudge_adapter") else {}


def _head(classifier: NeuralClassifier) -> str:
    head = classifier.network.head
    if classifier.writer is not None or isinstance(head, WritingHead):
        return "generate"
    return f"score, {head.pooling}" if isinstance(head, ScoreHead) else "label"
