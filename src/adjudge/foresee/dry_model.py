"""A method's model without weights: what is frozen, what is added, how many bytes hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adjudge.models.adapters import add_lora, linear_layers, resolve_targets
from adjudge.models.adapters.biases import train_biases
from adjudge.models.adapters.injected import add_adalora
from adjudge.models.adapters.lowrank import fuse_lora, round_frozen
from adjudge.models.assembly import HeadConfig
from adjudge.models.engine.footprint import dry_trunk
from adjudge.models.engine.throughput import trunk_operations
from adjudge.models.trunk.depth import keep_first_layers
from adjudge.models.trunk.dropout import set_dropout
from adjudge.models.trunk.loading import load_config, locate, model_kind
from adjudge.models.trunk.shapes import find_shape

# 4 bits, and the scale of 64 weights in 8 bits, and that of 256 such scales in 32 (Dettmers et al. 2023).
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8


@dataclass(frozen=True)
class DryModel:
    """A model under a method, by its shape.

    Attributes:
        config: the model's Transformers configuration.
        apply: freezes and adapts a trunk, in place.
        trunk: adapted, on the meta device.
        head_parameters: of the head, all of which learn.
        output_parameters: of a causal model's own language-model head, which is held beside the trunk.
        added_parameters: trained weights that `apply` stands in for.
        quantized: whether the base weights are held in NF4.
        uneven: whether layers are treated differently.
        notes: what is assumed.
    """

    config: Any
    apply: Callable[[nn.Module], None]
    trunk: nn.Module
    head_parameters: int
    output_parameters: int
    added_parameters: int | None = None
    quantized: bool = False
    uneven: bool = False
    notes: tuple[str, ...] = ()

    @property
    def causal(self) -> bool:
        """Whether it is a causal model."""
        return model_kind(self.config) == "causal"

    @property
    def trainable_parameters(self) -> int:
        """Weights that learn, the head's included."""
        own = sum(p.numel() for p in self.trunk.parameters() if p.requires_grad)
        return self.head_parameters + (own if self.added_parameters is None else self.added_parameters)

    @property
    def total_parameters(self) -> int:
        """All weights of trunk and head."""
        own = sum(p.numel() for p in self.trunk.parameters())
        if self.added_parameters is not None:
            own += self.added_parameters - sum(p.numel() for p in self.trunk.parameters() if p.requires_grad)
        return self.head_parameters + own

    def operations(self) -> tuple[float, float]:
        """Matrix operations for a token: forward, and of a training step."""
        return trunk_operations(self.trunk)

    def weight_bytes(self, *, on_gpu: bool) -> float:
        """Bytes of all weights as they are held; NF4 saves on GPUs alone."""
        held = 4.0 * (self.head_parameters + self.output_parameters + (self.added_parameters or 0))
        for name, p in self.trunk.named_parameters():
            rounded = self.quantized and on_gpu and _stacked(name) and p.ndim > 1 and not p.requires_grad
            held += p.numel() * (NF4_BYTES if rounded else p.element_size())
        return held


def dry_model(options: Any, n_labels: int, precision: str) -> DryModel:
    """The model of a method's options, adapted as the method will adapt it.

    Args:
        options: the method's validated options, with a ``model``.
        n_labels: size of the label set.
        precision: what the trunk computes in; frozen layers are kept in it.

    Raises:
        ModelNotFoundError: the model is neither here, nor a published shape, nor to be had from the hub.
        ConfigError: the method cannot adapt it.
    """
    shape = find_shape(options.model)
    config = shape.config() if shape is not None else load_config(locate(options.model))
    loss = options.training.loss if hasattr(options, "training") else None
    if loss is not None:
        set_dropout(config, loss.dropout, loss.attention_dropout)
    keep_first_layers(config, getattr(getattr(options, "head", None), "after_layer", None))
    adapt, notes = _adaptation(options)

    def apply(trunk: nn.Module) -> None:
        adapt(trunk)
        fuse_lora(trunk)
        if precision != "float32":
            round_frozen(trunk, getattr(torch, precision))

    trunk = dry_trunk(config, apply)
    tied = bool(getattr(config, "tie_word_embeddings", False)) or model_kind(config) == "encoder"
    return DryModel(
        config=config,
        apply=apply,
        trunk=trunk,
        head_parameters=_head_parameters(options, config, n_labels, tied=tied),
        output_parameters=0 if tied else int(config.vocab_size) * int(config.hidden_size),
        added_parameters=_added(options, config),
        quantized=options.kind == "qlora",
        uneven=getattr(options, "last_layers", None) is not None,
        notes=notes,
    )


def _head_parameters(options: Any, config: Any, n_labels: int, *, tied: bool) -> int:
    """Trained weights of the head; frozen copies of label words' rows are next to nothing."""
    head = getattr(options, "head", None)
    if isinstance(head, HeadConfig) and head.kind == "generate":
        return 0 if tied or options.kind != "full" else int(config.vocab_size) * int(config.hidden_size)
    trains = isinstance(head, HeadConfig) and (head.kind == "score" or head.train_label_rows)
    learns = options.kind == "linear_probe" or trains
    return n_labels * (int(config.hidden_size) + 1) if learns else 0


def _adaptation(options: Any) -> tuple[Callable[[nn.Module], None], tuple[str, ...]]:
    """What is done to the trunk; what cannot be done without weights is stood in for, and a note says so."""
    known: dict[str, Callable[[nn.Module], None]] = {
        "full": lambda trunk: _learn(trunk, True),
        "bitfit": lambda trunk: _biases(trunk, options),
        "adalora": lambda trunk: _shared_ranks(trunk, options),
        **dict.fromkeys(("lora", "qlora"), lambda trunk: _low_rank(trunk, options)),
    }
    if options.kind in _ADDED:
        return _through, (f"the activations of {options.kind} are taken as those of rank 1 updates of the attention",)
    return known.get(options.kind, lambda trunk: _learn(trunk, False)), ()


def _learn(trunk: nn.Module, learns: bool) -> None:
    trunk.requires_grad_(learns)


def _biases(trunk: nn.Module, options: Any) -> None:
    train_biases(
        trunk, () if options.new_biases is None else linear_layers(trunk, options.new_biases, option="new_biases")
    )


def _low_rank(trunk: nn.Module, options: Any) -> None:
    targets = resolve_targets(trunk, options.targets, options.last_layers)
    add_lora(trunk, rank=options.rank, alpha=1.0, dropout=options.dropout, targets=targets)


def _shared_ranks(trunk: nn.Module, options: Any) -> None:
    start, targets = options.start_rank or -(-3 * options.rank // 2), linear_layers(trunk, options.targets)
    add_adalora(trunk, start_rank=start, rank=options.rank, alpha=1.0, dropout=options.dropout, targets=targets)


def _through(trunk: nn.Module) -> None:
    """Let gradients flow through every layer, as they do to weights in front of or inside them."""
    add_lora(trunk, rank=1, alpha=1.0, dropout=0.0, targets=resolve_targets(trunk, "attention"))


def _added(options: Any, config: Any) -> int | None:
    count = _ADDED.get(options.kind)
    return None if count is None else count(options, config)


def _prompt(options: Any, config: Any) -> int:
    return int(options.virtual_tokens * config.hidden_size)


def _p_tuning(options: Any, config: Any) -> int:
    from adjudge.models.adapters.soft import PromptEncoder

    with torch.device("meta"):
        encoder = PromptEncoder(int(config.hidden_size), options.encoder_size, options.encoder)
    return sum(p.numel() for p in encoder.parameters()) + _prompt(options, config)


def _prefix(options: Any, config: Any) -> int:
    return int(2 * config.num_hidden_layers * options.virtual_tokens * _key_value_width(config))


def _bottleneck(options: Any, config: Any) -> int:
    hidden = int(config.hidden_size)
    width = max(1, hidden // int(options.reduction))
    places = int(config.num_hidden_layers) * (2 if options.placement == "houlsby" else 1)
    return places * (2 * hidden * width + hidden + width)


def _ia3(options: Any, config: Any) -> int:
    vectors = (0 if options.targets == "mlp" else 2 * _key_value_width(config)) + (
        0 if options.targets == "attention" else int(config.intermediate_size)
    )
    return int(config.num_hidden_layers) * vectors


def _key_value_width(config: Any) -> int:
    """Numbers of a token's keys at one layer."""
    heads = int(config.num_attention_heads)
    width = getattr(config, "head_dim", None) or int(config.hidden_size) // heads
    shared = int(getattr(config, "num_key_value_heads", None) or heads)
    return shared * int(width)


# Weights that learn in front of or inside a trunk, where putting them there takes a run of the real model.
_ADDED: dict[str, Callable[[Any, Any], int]] = {
    "prompt": _prompt,
    "p_tuning": _p_tuning,
    "prefix": _prefix,
    "bottleneck": _bottleneck,
    "ia3": _ia3,
}


def _stacked(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))
