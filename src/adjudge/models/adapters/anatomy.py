"""How a trunk is built, found out by running it once: what feeds its attention and what ends each half of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.target_layers import layer_of, resolve_targets

_TRACE_NAME = "adjudge_trace"


@dataclass(frozen=True)
class AttentionLayer:
    """One call of the attention.

    Attributes:
        name: of the module that calls it.
        keys: ``[T, kv_heads, D]`` of the tokens that were run, as the attention sees them (rotated).
        values: likewise.
        sources: names of the linear layers that keys or values come from; one where they are fused.
    """

    name: str
    keys: torch.Tensor
    values: torch.Tensor
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """A trunk's parts by what they do.

    Attributes:
        attention: its attention layers, in the order in which they run.
        attention_outputs: the projection that ends the attention half of each layer.
        mlp_outputs: the projection (or the mixture's experts) that ends the other half.
    """

    attention: tuple[AttentionLayer, ...]
    attention_outputs: tuple[str, ...]
    mlp_outputs: tuple[str, ...]


@dataclass
class _Trace:
    """What a run passed: projections with their outputs, and attention calls, in order."""

    names: dict[nn.Module, str]
    passed: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    attention: list[AttentionLayer] = field(default_factory=list)

    def projection(self, module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        self.passed.append((self.names[module], output))

    def call(self, module: nn.Module, key: torch.Tensor, value: torch.Tensor) -> None:
        inside = f"{self.names[module]}."
        layer = layer_of(inside)
        near = [(name, output) for name, output in self.passed if layer_of(name) == layer]
        feeding = [name for name, output in near if _depends(key, output) or _depends(value, output)]
        keys, values = (state[0].transpose(0, 1).detach().clone() for state in (key, value))
        self.attention.append(AttentionLayer(inside[:-1], keys, values, tuple(feeding)))


def study(trunk: nn.Module, ids: tuple[int, ...] = (0, 1, 2)) -> Anatomy:
    """Run a trunk over a few tokens and note what happens.

    Args:
        trunk: a Transformers model without head; left as it was.
        ids: the tokens to run.

    Raises:
        ConfigError: its attention does not go through Transformers' attention interface.
    """
    wanted = resolve_targets(trunk, "all")
    inside = set(resolve_targets(trunk, "attention").layers)
    holders = {name.rpartition(".")[0] for name in wanted.parameters}
    trace = _Trace({module: name for name, module in trunk.named_modules()})
    with _tracing(trunk, [*wanted.layers, *sorted(holders)], trace.projection):
        embedded = trunk.get_input_embeddings()(torch.tensor([ids], device=next(trunk.parameters()).device))  # type: ignore[operator]
        with torch.enable_grad():
            trunk(inputs_embeds=embedded.detach().requires_grad_(), use_cache=False, trace=trace)
    if not trace.attention:
        raise ConfigError(
            f"{type(trunk).__name__} computes its attention by itself, so its keys and values cannot be reached; "
            "use lora"
        )
    ends: dict[tuple[int, bool], str] = {(layer_of(name), name in inside): name for name, _ in trace.passed}
    return Anatomy(
        attention=tuple(trace.attention),
        attention_outputs=tuple(name for (_, is_inside), name in ends.items() if is_inside),
        mlp_outputs=tuple(name for (_, is_inside), name in ends.items() if not is_inside),
    )


def _depends(state: torch.Tensor, on: torch.Tensor) -> bool:
    gradient = torch.autograd.grad(state.sum(), on, retain_graph=True, allow_unused=True)[0]
    return gradient is not None


@contextmanager
def _tracing(trunk: nn.Module, names: list[str], note: Callable[..., None]) -> Iterator[None]:
    """Switch the trunk to the traced attention, with hooks on its projections and without dropout, for a while."""
    from transformers import AttentionInterface

    AttentionInterface.register(_TRACE_NAME, _traced_attention)
    config: Any = trunk.config
    native, training = config._attn_implementation, trunk.training
    hooks = [trunk.get_submodule(name).register_forward_hook(note) for name in names]
    trunk.set_attn_implementation(_TRACE_NAME)  # type: ignore[operator]
    trunk.eval()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        trunk.set_attn_implementation(native)  # type: ignore[operator]
        trunk.train(training)


def _traced_attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: object, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention of one row, as Transformers' attention functions; tells the trace what it was given."""
    options["trace"].call(module, key, value)
    attended = scaled_dot_product_attention(
        query,
        key,
        value,
        is_causal=bool(getattr(module, "is_causal", False)),
        scale=options.get("scaling"),
        enable_gqa=True,
    )
    return attended.transpose(1, 2), None
