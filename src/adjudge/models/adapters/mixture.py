"""A mixture's router while it is trained over: the loss that keeps its experts equally busy."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import one_hot


class RouterBalance:
    """The load-balancing loss of the Switch Transformer (Fedus et al. 2022, equations 4 to 6), over all layers.

    Routers, and where their logits stand in what they return, are as Transformers declares them of the architecture
    (``_can_record_outputs``); the weight is the model's own (``router_aux_loss_coef``).

    Args:
        trunk: with routers; hooks are put on it for as long as it lives.
    """

    def __init__(self, trunk: nn.Module) -> None:
        config: Any = trunk.config
        self.chosen = int(config.num_experts_per_tok)
        self.weight = float(config.router_aux_loss_coef)
        self._logits: list[torch.Tensor] = []
        self._real: torch.Tensor | None = None
        self._open = False
        trunk.register_forward_pre_hook(self._begin, with_kwargs=True)
        self._index = 0
        for router, self._index in routers(trunk):
            router.register_forward_hook(self._note)

    def loss(self) -> torch.Tensor | None:
        """The weighted loss of the rows that were just run; padding is not counted."""
        self._open = False
        logits, self._logits = self._logits, []
        if not logits:
            return None
        return self.weight * balance_loss(torch.stack(logits), self.chosen, self._real)

    def after_step(self, step: int) -> None:
        """Nothing to do."""

    def constrain(self) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing is kept."""
        return {}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing is kept."""

    def _begin(self, trunk: nn.Module, _args: Any, options: dict[str, Any]) -> None:
        mask = options.get("attention_mask")
        # Open until the loss is taken: layers that are run again for their gradients are not counted twice.
        self._logits, self._real, self._open = [], None if mask is None else mask.reshape(-1), trunk.training

    def _note(self, _router: nn.Module, _inputs: Any, output: Any) -> None:
        if self._open:
            logits = output[self._index] if isinstance(output, tuple) else output
            self._logits.append(logits.reshape(-1, logits.shape[-1]))


def routers(trunk: nn.Module) -> list[tuple[nn.Module, int]]:
    """A trunk's routers and the index of their logits in what they return; none of a model that is no mixture."""
    declared: Any = getattr(trunk, "_can_record_outputs", None) or {}
    recorder = declared.get("router_logits")
    if recorder is None or not getattr(trunk.config, "router_aux_loss_coef", None):
        return []
    return [(module, recorder.index) for module in trunk.modules() if isinstance(module, recorder.target_class)]


def balance_loss(logits: torch.Tensor, chosen: int, real: torch.Tensor | None = None) -> torch.Tensor:
    """``E · sum_i f_i P_i`` with f the share of choices that fall on an expert and P its mean probability.

    Args:
        logits: ``[L, T, E]`` of L layers' routers over T tokens and E experts.
        chosen: experts that a token goes to.
        real: ``[T]`` 1 where a token is no padding; default: all.
    """
    experts = logits.shape[-1]
    probabilities = logits.float().softmax(dim=-1)
    picks = one_hot(probabilities.topk(chosen, dim=-1).indices, experts).sum(dim=-2)
    weights = logits.new_ones(logits.shape[1]) if real is None else real.to(logits)
    rows = weights.sum() * len(logits)
    shares = (picks * weights[:, None]).sum(dim=(0, 1)) / rows
    means = (probabilities * weights[:, None]).sum(dim=(0, 1)) / rows
    return experts * (shares * means).sum()
