"""Virtual tokens in front of every prompt: learned embeddings (prompt tuning, P-tuning) or learned keys and values.

A virtual token is written as a negative id: token j as ``-1 - j``. It stands in the prompt like any other, so a causal
model's shared prefix holds it once a batch, positions go on behind it, and gradients flow to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.anatomy import attention_layers
from adjudge.models.adapters.memory import remember

Encoder = Literal["mlp", "lstm"]


class SoftPrompt(nn.Module):
    """Virtual tokens by their embeddings.

    Args:
        embeddings: ``[P, H]`` at the start; copied.
        encoder: a network that the embeddings go through while they are trained (P-tuning), or None.
    """

    def __init__(self, embeddings: torch.Tensor, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embeddings.detach().float().clone())
        self.encoder = encoder

    @property
    def length(self) -> int:
        """P."""
        return len(self.embedding)

    def forward(self) -> torch.Tensor:
        """The virtual tokens' embeddings ``[P, H]``, in the numbers that they are saved in."""
        with torch.autocast(self.embedding.device.type, enabled=False):
            return self.embedding if self.encoder is None else self.encoder(self.embedding)


class PromptEncoder(nn.Module):
    """What P-tuning trains its embeddings through (Liu et al. 2021, section 3.2): an MLP, or an LSTM and an MLP.

    Args:
        width: H, of the embeddings.
        hidden: of the network.
        kind: ``mlp`` or ``lstm``.
    """

    def __init__(self, width: int, hidden: int, kind: Encoder) -> None:
        super().__init__()
        self.lstm = (
            nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True) if kind == "lstm" else None
        )
        sizes = [2 * hidden, 2 * hidden, width] if kind == "lstm" else [width, hidden, hidden, width]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """``[P, H]`` to ``[P, H]``."""
        states = embeddings if self.lstm is None else self.lstm(embeddings[None])[0][0]
        found: torch.Tensor = self.mlp(states)
        return found


@dataclass(frozen=True)
class LearnedStates:
    """What the virtual tokens of one batch offer to attention.

    Attributes:
        at: ``[n]`` where virtual tokens stand in the sequence.
        which: ``[n]`` which of the P each is.
        layers: attention module -> keys and values ``[P, kv_heads, D]``.
    """

    at: torch.Tensor
    which: torch.Tensor
    layers: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]]

    def put(self, module: nn.Module, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values ``[kv_heads, T, D]`` of a layer, those of its virtual tokens replaced."""
        keys, values = (learned.to(key.dtype)[self.which].transpose(0, 1) for learned in self.layers[module])
        return key.index_copy(1, self.at, keys), value.index_copy(1, self.at, values)


class SoftPrefix(nn.Module):
    """Virtual tokens by their keys and values at every attention layer (Li and Liang 2021).

    Args:
        layers: names of the attention modules, L of them.
        heads: key-value heads.
        table: ``[P, 2 L heads D]`` keys and values, layer by layer, keys first; or ``[P, W]`` where there is a
            projection.
        projection: a network from ``[P, W]`` to that, trained along (their section 4.3), or None.
    """

    def __init__(
        self, layers: Sequence[str], heads: int, table: torch.Tensor, projection: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.heads = heads
        self.table = nn.Parameter(table.detach().float().clone())
        self.projection = projection

    @property
    def length(self) -> int:
        """P."""
        return len(self.table)

    def forward(self) -> torch.Tensor:
        """Keys and values of all layers, ``[P, 2 L heads D]``, in the numbers that they are saved in."""
        with torch.autocast(self.table.device.type, enabled=False):
            return self.table if self.projection is None else self.projection(self.table)

    def states(self, trunk: nn.Module, at: torch.Tensor, which: torch.Tensor) -> LearnedStates:
        """The learned keys and values of a batch whose virtual tokens stand ``at`` these places."""
        parts = self().reshape(self.length, 2 * len(self.layers), self.heads, -1).unbind(1)
        modules = [trunk.get_submodule(name) for name in self.layers]
        return LearnedStates(at, which, dict(zip(modules, zip(parts[::2], parts[1::2], strict=True), strict=True)))


@dataclass(frozen=True)
class Soft:
    """Virtual tokens on a trunk, and the ``adapter_config.json`` that they are saved with."""

    values: dict[str, Any]

    def saved(self, trunk: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Config and tensors, as PEFT names them; networks that were trained along are worked in."""
        tokens: Any = virtual_tokens(trunk)
        with torch.no_grad():
            return self.values, {"prompt_embeddings": tokens().detach()}


def virtual_tokens(trunk: nn.Module) -> SoftPrompt | SoftPrefix | None:
    """A trunk's virtual tokens, where it has any."""
    found = getattr(trunk, "virtual_tokens", None)
    return found if isinstance(found, SoftPrompt | SoftPrefix) else None


def virtual_ids(trunk: nn.Module) -> tuple[int, ...]:
    """The ids by which a trunk's virtual tokens are written in front of a prompt."""
    tokens = virtual_tokens(trunk)
    return () if tokens is None else tuple(-1 - j for j in range(tokens.length))


def add_prompt(trunk: nn.Module, embeddings: torch.Tensor, encoder: PromptEncoder | None = None) -> None:
    """Freeze a trunk and put learned embeddings in front of every prompt (Lester et al. 2021; Liu et al. 2021).

    Args:
        trunk: changed in place.
        embeddings: ``[P, H]`` at the start.
        encoder: P-tuning's network, which is trained along and worked in when the embeddings are saved.
    """
    values = _described(trunk, "PROMPT_TUNING" if encoder is None else "P_TUNING", *embeddings.shape)
    if encoder is not None:
        values |= {"encoder_reparameterization_type": "MLP" if encoder.lstm is None else "LSTM"}
        values |= {"encoder_hidden_size": encoder.mlp[0].out_features}  # what was trained through; not needed any more
    _attach(trunk, SoftPrompt(embeddings, encoder), values)


def add_prefix(trunk: nn.Module, ids: Sequence[int], *, projection: int | None = None) -> None:
    """Freeze a trunk and put learned keys and values in front of every prompt, at every layer (Li and Liang 2021).

    They start as the keys and values of these tokens, run alone; or, behind a projection, at random by torch's
    global generator (call it inside a seeded `fork_rng`).

    Args:
        trunk: changed in place.
        ids: P tokens.
        projection: hidden size of the network that the prefix is trained through, or None.

    Raises:
        ConfigError: the layers' keys and values have different shapes, or cannot be reached.
    """
    layers = attention_layers(trunk, tuple(ids))
    if len({state.shape for layer in layers for state in (layer.keys, layer.values)}) > 1:
        raise ConfigError(
            f"{type(trunk).__name__}: its layers' keys and values differ in shape, which prefix does not do; use lora"
        )
    heads, size = layers[0].keys.shape[1:]
    start = torch.stack([state for layer in layers for state in (layer.keys, layer.values)], dim=1).flatten(1)
    network = None
    if projection is not None:
        width = heads * size
        network = nn.Sequential(nn.Linear(width, projection), nn.Tanh(), nn.Linear(projection, start.shape[1]))
        start = torch.randn(len(ids), width)
    values = _described(trunk, "PREFIX_TUNING", len(ids), heads * size)
    values |= {"num_layers": len(layers), "num_attention_heads": heads, "prefix_projection": False}
    _attach(trunk, SoftPrefix([layer.name for layer in layers], heads, start, network), values)


def load_soft(trunk: nn.Module, values: dict[str, Any], tensors: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Attach saved virtual tokens; returns how many tensors are missing and how many are left over."""
    table = tensors.get("prompt_embeddings")
    if table is None:
        return 1, len(tensors)
    tokens: SoftPrompt | SoftPrefix = SoftPrompt(table)
    if values["peft_type"] == "PREFIX_TUNING":
        names = [layer.name for layer in attention_layers(trunk)]
        tokens = SoftPrefix(names, values["num_attention_heads"], table)
    _attach(trunk, tokens, values)
    return 0, len(tensors) - 1


def _attach(trunk: nn.Module, tokens: SoftPrompt | SoftPrefix, values: dict[str, Any]) -> None:
    trunk.requires_grad_(False)
    trunk.virtual_tokens = tokens
    remember(trunk, Soft(values))


def _described(trunk: nn.Module, peft_type: str, length: int, width: int) -> dict[str, Any]:
    config: Any = trunk.config
    return {
        "peft_type": peft_type,
        "task_type": "FEATURE_EXTRACTION",
        "num_virtual_tokens": length,
        "token_dim": width,
        "num_transformer_submodules": 1,
        # PEFT wants numbers, also of models that attend by no heads.
        "num_attention_heads": getattr(config, "num_attention_heads", 1),
        "num_layers": getattr(config, "num_hidden_layers", 1),
        "inference_mode": True,
    }
