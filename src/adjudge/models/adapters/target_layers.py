"""Which weights of a trunk a role means, by where they stand, not by what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from adjudge.core.errors import ConfigError

Role = Literal["attention", "mlp", "experts", "router", "all"]
"""``mlp`` includes the experts of a mixture; ``all`` is attention and mlp; the router is named when it is wanted."""


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


def resolve_targets(trunk: nn.Module, roles: Role | Sequence[Role], last_layers: int | None = None) -> Targets:
    """The weights that play any of the roles.

    A linear layer inside a module whose class is an attention is ``attention``. Tensors of three dimensions are
    ``experts``; the weight beside them with one row for each of them is the ``router``. Any other linear layer inside
    a stack of layers is ``mlp``, and so are experts.

    Args:
        trunk: a model without head.
        roles: one or several.
        last_layers: take only the last so many layers of the stack; below them nothing is trained, so the backward
            pass ends there.

    Raises:
        ConfigError: a role has no weights in this model.
    """
    wanted = [roles] if isinstance(roles, str) else list(roles)
    experts = [name for name, p in trunk.named_parameters() if p.ndim > 2 and _in_stack(name)]
    routers = _routers(trunk, experts)
    attention = tuple(
        f"{name}." for name, module in trunk.named_modules() if name and "Attention" in type(module).__name__
    )
    linear = [name for name, module in trunk.named_modules() if isinstance(module, nn.Linear) and _in_stack(name)]
    found: dict[str, tuple[list[str], list[str]]] = {
        "attention": ([name for name in linear if name.startswith(attention)], []),
        "experts": ([], experts),
        "router": (
            [name for name in routers if name in linear],
            [f"{name}.weight" for name in routers if name not in linear],
        ),
    }
    rest = [name for name in linear if not name.startswith(attention) and name not in routers]
    found["mlp"] = (rest, experts)
    found["all"] = (found["attention"][0] + rest, experts)
    first = 0 if last_layers is None else depth(trunk) - last_layers
    layers: set[str] = set()
    parameters: set[str] = set()
    for role in wanted:
        kept = [{name for name in names if layer_of(name) >= first} for names in found[role]]
        if not any(kept):
            has = ", ".join(name for name, names in found.items() if any(names))
            raise ConfigError(f"targets: the model has no weights for the role {role!r}; it has: {has or 'none'}")
        layers |= kept[0]
        parameters |= kept[1]
    order = {name: i for i, name in enumerate([*linear, *experts, *found["router"][1]])}
    return Targets(tuple(sorted(layers, key=order.__getitem__)), tuple(sorted(parameters, key=order.__getitem__)))


def linear_layers(trunk: nn.Module, role: Role, last_layers: int | None = None) -> list[str]:
    """Names of a trunk's linear layers that play a role, for adapters that can sit on nothing else.

    Args:
        trunk: a model without head.
        role: which of its linear layers.
        last_layers: see `resolve_targets`.

    Raises:
        ConfigError: the trunk has none, or keeps weights of that role elsewhere (a mixture's experts are stacked in
            one tensor), which would silently stay as they are.
    """
    targets = resolve_targets(trunk, role, last_layers)
    if targets.parameters:
        sizes = {name: p.numel() for name, p in trunk.named_parameters() if _in_stack(name)}
        share = sum(sizes[name] for name in targets.parameters) / sum(sizes.values())
        raise ConfigError(
            f"targets {role!r} would leave out {share:.0%} of the layers' weights, which are no linear layers "
            "(the experts of a mixture, or convolutions); use targets: attention"
        )
    return list(targets.layers)


def depth(trunk: nn.Module) -> int:
    """Number of layers of the stack."""
    return 1 + max((layer_of(name) for name, _ in trunk.named_parameters() if _in_stack(name)), default=-1)


def layer_of(name: str) -> int:
    """The position in the stack of layers that a module's or parameter's name holds."""
    return next(int(part) for part in name.split(".") if part.isdigit())


def _in_stack(name: str) -> bool:
    """Whether a module or parameter is inside a numbered layer."""
    return any(part.isdigit() for part in name.split("."))


def _routers(trunk: nn.Module, experts: Sequence[str]) -> list[str]:
    """Names of the modules beside experts whose weight has one row for each expert."""
    return list(dict.fromkeys(name for expert in experts for name in _beside(trunk, expert)))


def _beside(trunk: nn.Module, expert: str) -> Iterator[str]:
    block, _, own = expert.rpartition(".")[0].rpartition(".")
    for name, module in trunk.get_submodule(block).named_children():
        weight = getattr(module, "weight", None)
        if name != own and weight is not None and weight.ndim == 2 and len(weight) == len(trunk.get_parameter(expert)):
            yield f"{block}.{name}"
