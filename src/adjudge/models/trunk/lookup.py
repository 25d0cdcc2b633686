"""A token table that learns without a gradient as large as itself being made anew for every step.

A batch touches some hundreds of the table's tens of thousands of rows. PyTorch's embedding makes a dense gradient each
time, and fresh memory of that size costs more on a CPU than a layer of the model. Here one gradient is kept, rows are
added into it where tokens are, and only these are set to zero again. The optimiser sees the same numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class TokenTable(nn.Module):
    """An `nn.Embedding` whose gradient stays in its place; stands in for it under the same names.

    Args:
        table: shares its weight ``[V, H]``.
    """

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.weight = table.weight
        self.padding_idx = table.padding_idx
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim
        self._touched: list[torch.Tensor] = []

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids ``[...]`` -> rows ``[..., H]``."""
        rows: torch.Tensor = _Lookup.apply(self.weight, ids.reshape(-1), self)  # type: ignore[no-untyped-call]
        return rows.view(*ids.shape, -1)  # out here: a Function's own view cannot be changed in place

    def add(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add rows' gradients ``[n, H]`` to those of the table; the padding id's row does not learn."""
        if self.padding_idx is not None:
            gradient = gradient.masked_fill((ids == self.padding_idx)[:, None], 0.0)
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        self.weight.grad.index_add_(0, ids, gradient.to(self.weight.dtype))
        self._touched.append(ids)

    def clear_gradient(self) -> None:
        """Set the gradient to zero where it is not."""
        if self.weight.grad is not None:
            for ids in self._touched:
                self.weight.grad[ids] = 0.0
        self._touched.clear()


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor, table: TokenTable) -> torch.Tensor:
        ctx.table, ctx.ids = table, ids
        return weight.index_select(0, ids)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:
        ctx.table.add(ctx.ids, gradients[0])
        return None, None, None


def keep_gradients(trunk: nn.Module) -> None:
    """Put `TokenTable` in the place of a trunk's token table, where that learns on a CPU.

    A table of another class (one that scales its rows, say) stays as it is.
    """
    table: Any = trunk.get_input_embeddings()  # type: ignore[operator]
    if type(table) is not nn.Embedding or not table.weight.requires_grad or table.weight.device.type != "cpu":
        return
    if table.max_norm is None and not table.scale_grad_by_freq and not table.sparse:
        trunk.set_input_embeddings(TokenTable(table))  # type: ignore[operator]


def clear_gradients(modules: tuple[nn.Module, ...]) -> None:
    """Drop all gradients of some modules; a `TokenTable` keeps its memory."""
    kept = set()
    for table in (part for module in modules for part in module.modules() if isinstance(part, TokenTable)):
        table.clear_gradient()
        kept.add(id(table.weight))
    for parameter in (parameter for module in modules for parameter in module.parameters()):
        if id(parameter) not in kept:
            parameter.grad = None
