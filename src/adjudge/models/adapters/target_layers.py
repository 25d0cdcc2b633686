"""Which weights of a trunk a role means, by where they stand, not by what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from adjudge.core.errors import ConfigError

Role = Literal["attention", "mlp", "experts", "router", "all"]
"""``mlp`` includes the experts of a mixture; ``all`` is attention and mlp; the router is named when it is wanted."""

# What state-space mixers call their decay.
_STATE_DECAY = "A_log"


@dataclass(frozen=True)
class Targets:
    """What roles resolved to.

    Attributes:
        layers: names of linear layers.
        parameters: names of weights that are no linear layers' (a mixture's stacked experts, its router).
    """

    layers: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Layers and parameters."""
        return [*self.layers, *self.parameters]

    def since(self, layer: int) -> Targets:
        """Those of this layer of the stack and of the layers above it."""
        kept = [tuple(name for name in names if layer_of(name) >= layer) for names in (self.layers, self.parameters)]
        return Targets(*kept)


def resolve_targets(
    trunk: nn.Module, roles: Role | Sequence[Role], last_layers: int | None = None, option: str = "targets"
) -> Targets:
    """The weights that play any of the roles.

    A linear layer inside a module whose class is an attention is ``attention``. Tensors of three dimensions outside
    of attention and convolutions are ``experts``; the weight beside them with one row for each of them is the
    ``router``. Any other linear layer inside a stack of layers is ``mlp``, and so are experts. Norms, embeddings and
    convolutions play no role, nor do those layers of state-space mixers that kernels do not call.

    Args:
        trunk: a model without head.
        roles: one or several.
        last_layers: take only the last so many layers of the stack; below them nothing is trained, so the backward
            pass ends there.
        option: what the user chose the roles by, for the message.

    Raises:
        ConfigError: a role has no weights in this model, or attention has some that are no linear layers.
    """
    wanted = [roles] if isinstance(roles, str) else list(roles)
    weights = weights_by_role(trunk)
    if not weights["attention"].names and {"attention", "all"}.intersection(wanted):
        _refuse_attention_out_of_reach(trunk, weights, option)
    first = 0 if last_layers is None else depth(trunk) - last_layers
    layers: set[str] = set()
    parameters: set[str] = set()
    for role in wanted:
        kept = weights[role].since(first)
        if not kept.names:
            raise ConfigError(f"{option}: the model has no weights for the role {role!r}; it has: {_named(weights)}")
        layers.update(kept.layers)
        parameters.update(kept.parameters)
    order = {name: i for i, name in enumerate([*weights["all"].names, *weights["router"].names])}
    return Targets(tuple(sorted(layers, key=order.__getitem__)), tuple(sorted(parameters, key=order.__getitem__)))


def weights_by_role(trunk: nn.Module) -> dict[Role, Targets]:
    """What every role means in a trunk, see `resolve_targets`; of a role that it has not, nothing."""
    inside = _attentions(trunk)
    experts, unread = _experts(trunk, inside), _read_by_kernels(trunk)
    routers = _routers(trunk, experts)
    linear = [
        name for name, part in trunk.named_modules() if _in_stack(name) and name not in unread and is_linear(part)
    ]
    attention = [name for name in linear if name.startswith(inside)]
    rest = [name for name in linear if not name.startswith(inside) and name not in routers]
    return {
        "attention": Targets(tuple(attention)),
        "mlp": Targets(tuple(rest), tuple(experts)),
        "experts": Targets((), tuple(experts)),
        "router": Targets(
            tuple(name for name in routers if name in linear),
            tuple(f"{name}.weight" for name in routers if name not in linear),
        ),
        "all": Targets(tuple(name for name in linear if name not in routers), tuple(experts)),
    }


def _attentions(trunk: nn.Module) -> tuple[str, ...]:
    """What the names of everything inside an attention begin with."""
    return tuple(f"{name}." for name, module in trunk.named_modules() if name and is_attention(module))


def _named(weights: dict[Role, Targets]) -> str:
    return ", ".join(role for role, targets in weights.items() if targets.names) or "none"


def _refuse_attention_out_of_reach(trunk: nn.Module, weights: dict[Role, Targets], option: str) -> None:
    """Attention may have tensors that are multiplied otherwise (XLNet), which adapters of linear layers are not for.

    Raises:
        ConfigError: so it is; their share is named.
    """
    names = [name for name, p in trunk.named_parameters() if name.startswith(_attentions(trunk)) and p.ndim > 1]
    if names:
        remedy = f"{option}: mlp, or the method full or prompt" if weights["mlp"].layers else "the method full"
        raise ConfigError(
            f"{option}: the attention of {type(trunk).__name__} ({_share(trunk, names):.0%} of the layers' weights) "
            f"has no linear layers that could be adapted; use {remedy}"
        )


def is_attention(module: nn.Module) -> bool:
    """Whether a module is an attention, by its class."""
    return "Attention" in type(module).__name__


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer: from the last dimension of its input to that of its output.

    `Conv1D` is one with its weight transposed (GPT-2); some that are derived from `nn.Linear` are none (groups).
    """
    from transformers.pytorch_utils import Conv1D

    if type(module) in (nn.Linear, Conv1D):
        return True
    if not isinstance(module, nn.Linear):
        return False
    try:
        with torch.no_grad():
            found = module(module.weight.new_zeros(1, module.in_features))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False
    return isinstance(found, torch.Tensor) and found.shape == (1, module.out_features)


def matrix(layer: Any) -> torch.Tensor:
    """A linear layer's weight as ``[out, in]``, whichever way it is kept: the same memory, without gradients."""
    from transformers.pytorch_utils import Conv1D

    weight: torch.Tensor = layer.weight.data
    return weight.T if isinstance(layer, Conv1D) else weight


def transposed(trunk: nn.Module, names: Sequence[str]) -> bool:
    """Whether any of these layers keeps its weight as ``[in, out]`` (`Conv1D`, which is no convolution)."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(trunk.get_submodule(name), Conv1D) for name in names)


def linear_layers(trunk: nn.Module, role: Role, last_layers: int | None = None, option: str = "targets") -> list[str]:
    """Names of a trunk's linear layers that play a role, for adapters that can sit on nothing else.

    Args:
        trunk: a model without head.
        role: which of its linear layers.
        last_layers: see `resolve_targets`.
        option: what the user chose the role by, for the message.

    Raises:
        ConfigError: the trunk has none, or keeps weights of that role elsewhere (a mixture's experts are stacked in
            one tensor), which would silently stay as they are.
    """
    targets = resolve_targets(trunk, role, last_layers, option)
    if targets.parameters:
        raise ConfigError(
            f"{option}: {role!r} would leave out {_share(trunk, targets.parameters):.0%} of the layers' weights, the "
            f"experts of a mixture, which are no linear layers; use {option}: attention"
        )
    return list(targets.layers)


def _share(trunk: nn.Module, names: Sequence[str]) -> float:
    """Share of the stack's weights that these parameters are."""
    sizes = {name: p.numel() for name, p in trunk.named_parameters() if _in_stack(name)}
    return sum(sizes.get(name, 0) for name in names) / sum(sizes.values())


def depth(trunk: nn.Module) -> int:
    """Number of layers of the stack."""
    return 1 + max((layer_of(name) for name, _ in trunk.named_parameters() if _in_stack(name)), default=-1)


def layer_of(name: str) -> int:
    """The position in the stack of layers that a module's or parameter's name holds."""
    return next(int(part) for part in name.split(".") if part.isdigit())


def _in_stack(name: str) -> bool:
    """Whether a module or parameter is inside a numbered layer."""
    return any(part.isdigit() for part in name.split("."))


def _read_by_kernels(trunk: nn.Module) -> set[str]:
    """Names of layers that fused kernels, where there are some, read the weights of and do not call.

    An adapter around such a layer would do nothing there. Of a state-space mixer these can be all but the layers that
    read its input, by their width.
    """
    config: Any = getattr(trunk, "config", None)
    mixers = [name for name, module in trunk.named_modules() if _STATE_DECAY in module._parameters]
    return {
        f"{mixer}.{name}"
        for mixer in mixers
        for name, part in trunk.get_submodule(mixer).named_modules()
        if isinstance(part, nn.Linear) and part.in_features != config.hidden_size
    }


def _experts(trunk: nn.Module, attention: tuple[str, ...]) -> list[str]:
    """Names of a mixture's stacked weights."""
    found = []
    for name, parameter in trunk.named_parameters():
        owner: Any = trunk.get_submodule(name.rpartition(".")[0])
        stacked = parameter.ndim == 3 and not isinstance(owner, _ConvNd)
        if stacked and _in_stack(name) and not name.startswith(attention):
            found.append(name)
    return found


def _routers(trunk: nn.Module, experts: Sequence[str]) -> list[str]:
    """Names of the modules beside experts whose weight has one row for each expert."""
    return list(dict.fromkeys(name for expert in experts for name in _beside(trunk, expert)))


def _beside(trunk: nn.Module, expert: str) -> Iterator[str]:
    block, _, own = expert.rpartition(".")[0].rpartition(".")
    for name, module in trunk.get_submodule(block).named_children():
        weight = getattr(module, "weight", None)
        if name != own and weight is not None and weight.ndim == 2 and len(weight) == len(trunk.get_parameter(expert)):
            yield f"{block}.{name}"
