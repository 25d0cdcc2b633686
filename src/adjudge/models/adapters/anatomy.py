"""How a trunk is built, found out by running it once: what feeds its attention and what ends each half of a layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from adjudge.core.errors import ConfigError
from adjudge.models.adapters.target_layers import is_attention, weights_by_role

_TRACE_NAME = "adjudge_trace"
# A name up to the numbers of its layer, of which blocks of layers have two.
_LAYER = re.compile(r"(?:[^.\d][^.]*\.)*\d+(?:\.\d+)*(?=\.|$)")


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
class LayerEnds:
    """What ends the halves of a trunk's layers: the projections that run last in each.

    Attributes:
        attention: of the attention halves.
        mlp: of the others; a mixture's experts are one of these.
    """

    attention: tuple[str, ...]
    mlp: tuple[str, ...]


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
        layer = stem(inside)
        near = [(name, output) for name, output in self.passed if stem(name) == layer]
        feeding = [name for name, output in near if _depends(key, output) or _depends(value, output)]
        keys, values = (state[0].transpose(0, 1).detach().clone() for state in (key, value))
        self.attention.append(AttentionLayer(inside[:-1], keys, values, tuple(feeding)))


def attention_layers(trunk: nn.Module, ids: tuple[int, ...] = (0, 1, 2)) -> tuple[AttentionLayer, ...]:
    """Run a trunk over a few tokens and note every call of its attention, in the order in which they come.

    Args:
        trunk: a Transformers model without head; left as it was.
        ids: the tokens to run.

    Raises:
        ConfigError: its attention does not go through Transformers' attention interface, or it cannot be traced.
    """
    trace = _Trace({module: name for name, module in trunk.named_modules()})
    with _tracing(trunk), _noting(trunk, trace.projection):
        embedded = trunk.get_input_embeddings()(torch.tensor([ids], device=next(trunk.parameters()).device))  # type: ignore[operator]
        try:
            with torch.enable_grad():
                trunk(inputs_embeds=embedded.detach().requires_grad_(), use_cache=False, trace=trace)
        except Exception as error:  # whatever an architecture does with what it does not expect
            reason = " ".join(str(error).split())[:200]
            raise _out_of_reach(trunk, f" ({reason})") from error
    if not trace.attention:
        raise _out_of_reach(trunk)
    return tuple(trace.attention)


def _out_of_reach(trunk: nn.Module, reason: str = "") -> ConfigError:
    return ConfigError(
        f"{type(trunk).__name__} computes its attention by itself, so its keys and values cannot be reached{reason}; "
        "use lora, or ia3 with targets: mlp"
    )


def layer_ends(trunk: nn.Module) -> LayerEnds:
    """Run a trunk over a few tokens and see which projections to the layers' width run last in each layer.

    Args:
        trunk: a Transformers model without head; left as it was.
    """
    config: Any = trunk.config
    names = {module: name for name, module in trunk.named_modules()}
    passed: list[str] = []

    def note(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.shape[-1] == config.hidden_size:
            passed.append(names[module])

    training = trunk.training
    trunk.eval()
    with _noting(trunk, note), torch.no_grad():
        trunk(input_ids=torch.tensor([[0, 1, 2]], device=next(trunk.parameters()).device), use_cache=False)
    trunk.train(training)
    inside = tuple(f"{name}." for name, module in trunk.named_modules() if name and is_attention(module))
    last = {(stem(name), name.startswith(inside)): name for name in passed}
    return LayerEnds(
        attention=tuple(name for (_, is_inside), name in last.items() if is_inside),
        mlp=tuple(name for (_, is_inside), name in last.items() if not is_inside),
    )


def stem(name: str) -> str:
    """A module's name up to the number of its layer: ``encoder.layer.3`` of ``encoder.layer.3.output.dense``."""
    found = _LAYER.match(name)
    return name if found is None else found.group()


def _depends(state: torch.Tensor, on: torch.Tensor) -> bool:
    gradient = torch.autograd.grad(state.sum(), on, retain_graph=True, allow_unused=True)[0]
    return gradient is not None


@contextmanager
def _noting(trunk: nn.Module, note: Callable[..., None]) -> Iterator[None]:
    """Call back when a projection of the stack, or a mixture's experts, has run, for a while."""
    wanted = weights_by_role(trunk)["all"]
    holders = {name.rpartition(".")[0] for name in wanted.parameters}
    hooks = [trunk.get_submodule(name).register_forward_hook(note) for name in (*wanted.layers, *sorted(holders))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _tracing(trunk: nn.Module) -> Iterator[None]:
    """Switch the trunk to the traced attention, without dropout, for a while."""
    from transformers import AttentionInterface

    AttentionInterface.register(_TRACE_NAME, _traced_attention)
    config: Any = trunk.config
    native, training = config._attn_implementation, trunk.training
    trunk.eval()
    try:
        trunk.set_attn_implementation(_TRACE_NAME)  # type: ignore[operator]
        yield
    finally:
        trunk.set_attn_implementation(native)  # type: ignore[operator]
        trunk.train(training)


def _traced_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: object,
    **options: Any,
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
