"""The common judge of adapters: one set of held-out rows, one engine, closed-set log loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from emotion import LABELS, Rows, task
from safetensors.torch import load_file

from adjudge.core.config import validate
from adjudge.core.task import Task
from adjudge.core.types import Split
from adjudge.methods import METHODS
from adjudge.methods.method import Setting
from adjudge.models.classifiers.linear import probabilities


def fit_scorer(
    options: dict[str, Any], train: Rows, decided: Task | None = None, labels: Sequence[str] = LABELS
) -> Any:
    """A classifier of a method that trains nothing; demonstrations, where it takes any, come from these rows.

    Args:
        options: the recipe entry of the method.
        train: rows to take demonstrations from.
        decided: the task; None is the emotion task.
        labels: its closed set.
    """
    method = METHODS.load(options["kind"])
    split = Split("train", list(train.texts), list(train.labels), [f"train-{i}" for i in range(len(train.texts))])
    setting = Setting(decided or Task.model_validate(task()), tuple(labels))
    return method.fit(split, split.take([0]), validate(method.config, options, "benchmark"), setting).classifier


class Judge:
    """A frozen model that scores the label words, with one contender's adapter on it at a time.

    The low-rank update is added to the weights from the adapter's files, without PEFT and without adjudge's loader.
    """

    def __init__(self, model: str, method: dict[str, Any], rows: Rows) -> None:
        options = {"kind": "zero_shot", "model": model, "scoring": "raw", **method}
        self._classifier = fit_scorer(options, rows)
        self._rows = rows

    def log_loss(self, adapter: Path | None) -> float:
        """Mean closed-set log loss on the held-out rows; None judges the model as it is."""
        weights = dict(self._classifier.network.engine.trunk.named_parameters())
        before: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for name, update in updates(adapter, list(weights)) if adapter else ():
                before[name] = weights[name].clone()
                weights[name] += update.to(weights[name])
            self._classifier.network.train(True)  # the weights have changed: nothing computed before may be reused
            logits = self._classifier.predict_logits(self._rows.texts)
            for name, kept in before.items():
                weights[name].copy_(kept)
        gold = [LABELS.index(label) for label in self._rows.labels]
        return float(-np.log(probabilities(logits, 1.0)[np.arange(len(gold)), gold]).mean())


def updates(adapter: Path, names: Sequence[str]) -> list[tuple[str, torch.Tensor]]:
    """The update of each adapted weight, by the weight's name in the trunk.

    Raises:
        ValueError: a pair of the adapter belongs to no weight.
    """
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    state = load_file(adapter / "adapter_model.safetensors")
    found = []
    for name, down in state.items():
        place, mark, _ = name.partition(".lora_A.")
        if not mark:
            continue
        layer = place[place.index("layers.") :]
        targets = [known for known in names if known == f"{layer}.weight"]
        if not targets:
            raise ValueError(f"{adapter}: {name} fits no weight of the model")
        up = state[name.replace(".lora_A.", ".lora_B.")]
        found.append((targets[0], scale * (up.float() @ down.float())))
    return found
