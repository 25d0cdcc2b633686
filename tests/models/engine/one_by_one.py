"""The reference of the packed forward: each row alone through the plain Transformers model, nothing shared."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

from adjudge.core.types import Encoded
from adjudge.models.engine.engine import Engine, States
from tests.tiny_models import FAMILIES, tiny_model

PREFIX = (17, 40, 5, 61, 33)
WINDOW = 8
# Three paths behind one another and a fork: as of labels that share their first two tokens.
PATHS = ((70,), (71,), (70, 72))
# Its grouped matrix product has no float64.
FLOAT32_ONLY = "mixtral"


def row(n_text: int, seed: int, n_suffix: int = 2) -> Encoded:
    """A row of text and suffix ids, none of them special."""
    ids = tuple(20 + (seed * 37 + 11 * i + i * i) % 200 for i in range(n_text + n_suffix))
    return Encoded(ids[:n_text], ids[n_text:], n_text)


BATCHES = {
    "mixed lengths": [row(n, seed) for seed, n in enumerate((3, 30, 0, 11, 28, 1, 9))],
    "one row": [row(6, 1)],
    "an empty text": [row(0, 1), row(0, 2, 1)],
    "equal lengths": [row(5, seed) for seed in range(3)],
}


def model_folder(architecture: str, folder: Path) -> Path:
    """A tiny model whose sliding windows, where the family has them, are shorter than the rows here."""
    if not folder.is_dir():
        tiny_model(architecture, folder)
        file = folder / "config.json"
        config = json.loads(file.read_text())
        for name in ("sliding_window", "local_attention"):
            if name in config:
                config[name] = WINDOW
        file.write_text(json.dumps(config))
    return folder


def load_trunk(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The trunk without dropout, every weight trainable."""
    trunk: nn.Module = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").to(dtype)
    for module in trunk.modules():
        # Norms of this family compute in float32 whatever the weights are, which would hide what is compared.
        if type(module).__name__.endswith("RMSNorm") and dtype == torch.float64:
            module.forward = _norm_in_float64(module)  # type: ignore[method-assign]
    return trunk.eval()


def _norm_in_float64(module: Any) -> Any:
    gemma = "Gemma" in type(module).__name__
    epsilon = module.eps if gemma else module.variance_epsilon

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        scaled = hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + epsilon)
        return scaled * (1 + module.weight if gemma else module.weight)

    return forward


def dtype_of(architecture: str) -> torch.dtype:
    return torch.float32 if architecture == FLOAT32_ONLY else torch.float64


def bound_of(architecture: str) -> float:
    return 1e-5 if architecture == FLOAT32_ONLY else 1e-9


def reference(
    trunk: nn.Module, rows: Sequence[Encoded], prefix: Sequence[int], paths: Sequence[tuple[int, ...]], *, causal: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States of answer slots ``[B, H]``, of nodes ``[B * K, H]``, and of the rows' own tokens in order ``[R, H]``."""
    answers, nodes, own = [], [], []
    for encoded in rows:
        prompt = [*prefix, *encoded.text_ids, *encoded.suffix_ids]
        states = trunk(input_ids=torch.tensor([prompt])).last_hidden_state[0]
        answers.append(states[-1])
        own.append(states[len(prefix) :] if causal else states)
        nodes += [trunk(input_ids=torch.tensor([[*prompt, *path]])).last_hidden_state[0, -1] for path in paths]
    empty = answers[0].new_zeros(0, answers[0].shape[0])
    return torch.stack(answers), torch.stack(nodes) if nodes else empty, torch.cat(own)


def parts(states: States) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same three of an engine's states."""
    own_at = states.own.nonzero().squeeze(1)
    by_row = own_at[torch.argsort(states.owner[own_at], stable=True)]
    return states.hidden[states.answer], states.hidden[states.nodes.reshape(-1)], states.hidden[by_row]


def gradients(trunk: nn.Module, outputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients of a fixed, irregular function of all outputs."""
    trunk.zero_grad(set_to_none=True)
    loss = outputs[0].new_zeros(())
    for found in outputs:
        weights = torch.sin(torch.arange(found.numel(), dtype=found.dtype) * 0.7 + 1)
        loss = loss + (torch.tanh(found).reshape(-1) * weights).sum()
    loss.backward()
    return {name: p.grad.clone() for name, p in trunk.named_parameters() if p.grad is not None}


def assert_close(found: torch.Tensor, expected: torch.Tensor, bound: float, what: str) -> None:
    assert found.shape == expected.shape, what
    if not expected.numel():
        return
    scale = float(expected.detach().abs().max())
    worst = float((found.detach() - expected.detach()).abs().max())
    # Some gradients are zero but for rounding: a key's bias moves all scores of a softmax alike.
    rounding = 64 * torch.finfo(expected.dtype).eps
    assert math.isfinite(scale), what
    assert worst <= max(bound * scale, rounding), (
        f"{what}: differs by {worst:.1e}, {worst / max(scale, 1e-300):.1e} of the largest"
    )


def engine_of(folder: Path, architecture: str) -> Engine:
    return Engine(load_trunk(folder, dtype_of(architecture)), causal=FAMILIES[architecture].causal)
