"""Start a training from the weights of a saved classifier instead of the base model's."""

from __future__ import annotations

from pathlib import Path

import torch

from adjudge.core.errors import ConfigError
from adjudge.models.heads import WritingHead
from adjudge.models.neural import NeuralClassifier
from adjudge.models.storage import load_classifier


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
    compared = [
        ("the method adapts", new.adaptation, saved.adaptation),
        ("the base model is", new.base.name, saved.base.name),
        ("the labels are", new.labels, saved.labels),
        ("the head writes", isinstance(new.network.head, WritingHead), saved.writer is not None),
    ]
    found = [
        f"{what} {mine!r} in the recipe, {theirs!r} in the run" for what, mine, theirs in compared if mine != theirs
    ]
    if new.prompt.describe()["hash"] != saved.prompt.describe()["hash"]:
        found.append("the recipe's prompt is another one; use the task and the `prompt_style` that the run had")
    if found:
        return found
    # What writes is the trunk's or the model's own, and has its form.
    parts = ("trunk",) if isinstance(new.network.head, WritingHead) else ("trunk", "head")
    for part, mine, theirs in zip(parts, new.network.modules, saved.network.modules, strict=False):
        shapes = [{name: tuple(p.shape) for name, p in module.named_parameters()} for module in (mine, theirs)]
        different = sorted(name for name in {*shapes[0], *shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
        if different:
            name = different[0]
            found.append(
                f"{len(different)} weights of the {part} differ, first {name}: {shapes[0].get(name)} in the recipe, "
                f"{shapes[1].get(name)} in the run; use the method's options that the run had"
            )
    return found
