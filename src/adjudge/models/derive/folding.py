"""Adapters folded into the weights they stand beside: afterwards the model is one of its base's own architecture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from adjudge.core.errors import ConfigError, WorkError
from adjudge.models.adapters.biases import Biases
from adjudge.models.adapters.lowrank import unfuse_lora
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.trunk.precision import WeightsType


def merge_adapter(classifier: NeuralClassifier, weights: WeightsType = "bfloat16") -> NeuralClassifier:
    """Fold a classifier's adapter into its trunk and round the trunk to a number format.

    For LoRA (Hu et al. 2021, section 4.1): ``W' = W + (alpha / r) B A``. A base that was rounded to 4 bits stays as
    rounded as it was in training (on the CPU; 4-bit layers of a GPU are refused). What is returned computes with
    exactly the numbers that its saved form holds, so its predictions are those of the files. The head stays float32.

    Args:
        classifier: with an adapter of PEFT's in its trunk, which is changed in place; do not use it afterwards.
        weights: what the trunk is rounded to and saved in.

    Returns:
        A classifier whose trunk is saved whole.

    Raises:
        ConfigError: there is no adapter, or one that is no change of weights (prefix and prompt tuning, bottlenecks);
            or the classifier was trained in half precision just now, see `refuse_rounded`.
        WorkError: a merged weight lies outside the range of the number format.
    """
    trunk = classifier.network.engine.trunk
    refuse_rounded(trunk)
    classifier.network.train(True)  # weights change: whatever is kept of their states is forgotten
    fold(trunk, classifier.adaptation)
    round_weights(trunk, weights)
    trunk.requires_grad_(False)
    classifier.network.train(False)
    return replace(classifier, adaptation="full", weights=weights, quantization="none")


def refuse_rounded(trunk: nn.Module) -> None:
    """Adapters are added to the base model as its files have it, not as a training in half precision rounds it.

    Raises:
        ConfigError: frozen weights are rounded (`adjudge.models.adapters.lowrank.round_frozen`).
    """
    for name, parameter in trunk.named_parameters():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            raise ConfigError(
                f"the base model's weights were rounded for training ({name} is {str(parameter.dtype)[6:]}), so what "
                "is made from them here would not be what the saved classifier gives; save it, load it, and take that"
            )


def fold(trunk: nn.Module, adaptation: str) -> None:
    """Merge every adapter layer of a trunk and put the plain layers back in their places.

    Args:
        trunk: changed in place.
        adaptation: what it was adapted by, for the message.

    Raises:
        ConfigError: see `merge_adapter`.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    unfuse_lora(trunk)
    adapted = {name: module for name, module in trunk.named_modules() if isinstance(module, BaseTunerLayer)}
    outermost = [name for name in adapted if not any(name.startswith(f"{other}.") for other in adapted)]
    if getattr(trunk, "is_loaded_in_4bit", False):
        raise ConfigError(
            "4-bit layers on a GPU cannot take an adapter without being rounded again; merge on the CPU, where the "
            "same numbers are held in full: CUDA_VISIBLE_DEVICES= adjudge merge ..."
        )
    if not outermost and not _is_in_weights(trunk):
        what = {"none": "has no adapter", "full": "has no adapter: its weights are trained whole"}
        said = what.get(adaptation, f"was adapted by {adaptation!r}, which is no change of weights")
        raise ConfigError(f"the classifier {said}, so there is nothing to merge; allowed: lora and its relatives")
    for name in outermost:
        parent, _, last = name.rpartition(".")
        setattr(trunk.get_submodule(parent), last, _plain(adapted[name]))
    if hasattr(trunk, "adjudge_adapter"):
        del trunk.adjudge_adapter
    left = [name for name, module in trunk.named_modules() if type(module).__module__.startswith("adjudge.")]
    if left:
        raise ConfigError(
            f"the classifier was adapted by {adaptation!r}, whose modules ({left[0]}, …) cannot be merged into weights"
        )


def _is_in_weights(trunk: nn.Module) -> bool:
    """Whether what was trained are parameters that the architecture has (biases)."""
    adapter = getattr(trunk, "adjudge_adapter", None)
    return isinstance(adapter, Biases) and not adapter.values["new"]


def _plain(layer: Any) -> nn.Module:
    """An adapter layer's base layer, the adapter added to its weights."""
    if hasattr(layer, "unload_and_optionally_merge_module"):  # of tensors that are no layers (a mixture's experts)
        unloaded: nn.Module = layer.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
        return unloaded
    layer.merge(safe_merge=True)
    base: nn.Module = layer.get_base_layer()
    return base


@torch.no_grad()
def round_weights(trunk: nn.Module, weights: WeightsType) -> None:
    """Round every parameter to a number format; they stay float32 tensors.

    Raises:
        WorkError: a weight is too large for the format.
    """
    dtype = getattr(torch, weights)
    for name, parameter in trunk.named_parameters():
        rounded = parameter.to(dtype).to(parameter.dtype)
        if not bool(torch.isfinite(rounded).all()):
            raise WorkError(f"{name}: a merged weight lies outside the range of {weights}; use bfloat16 or float32")
        parameter.copy_(rounded)
