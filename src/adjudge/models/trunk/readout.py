"""A language model's last step: from hidden states to the vocabulary's scores, found by trying and not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

# A few tokens of the model's own output decide; agreement to this share of its largest score is taken for the same.
_PROBE_TOKENS = 4
_TOLERANCE = 1e-4
# What configs call a bound on scores, a factor of them, and a divisor.
_CAPS = ("final_logit_softcapping", "logits_soft_cap")
_FACTORS = ("logit_scale", "lm_head_multiplier")
_DIVISORS = ("logits_scaling",)
# Scores of this many entries are made at a time: a megabyte in float32, which stays in a core's cache. A GPU has more
# units to keep busy.
_CHUNK_ENTRIES = 1 << 18
_GPU_CHUNK_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Scaling:
    """What some architectures do to the head's products: ``cap * tanh(scale * x / cap)``.

    Attributes:
        scale: factor (Cohere; of Granite one over its divisor).
        cap: bound of the scores (Gemma 2), or None.
    """

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, products: torch.Tensor) -> torch.Tensor:
        """The scores."""
        scores = products if self.scale == 1.0 else products * self.scale
        return scores if self.cap is None else self.cap * torch.tanh(scores / self.cap)


class Readout(nn.Module):
    """The language-model head, with what the architecture does to its products.

    Its tensors are the model's own where they can be, and are not saved.

    Args:
        weight: ``[V, H]``.
        bias: ``[V]`` or None.
        scaling: see `Scaling`.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None, scaling: Scaling | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach(), persistent=False)
        self.register_buffer("bias", None if bias is None else bias.detach(), persistent=False)
        self.scaling = scaling or Scaling()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores ``[..., V]`` of states ``[..., H]``."""
        return self.scaling(linear(hidden, self.weight, self.bias))

    def log_total(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-sum-exp over the vocabulary ``[N]`` of states ``[N, H]``, some words at a time.

        Score minus this is a word's log-probability; the scores of all words are never there together.
        """
        total = hidden.new_full(hidden.shape[:1], -torch.inf)
        for _, scores in self._blocks(hidden):
            total = torch.logaddexp(total, scores.logsumexp(dim=-1))
        return total

    def best(self, hidden: torch.Tensor) -> torch.Tensor:
        """The id of the word with the highest score ``[N]`` of states ``[N, H]``; the lowest of equals."""
        highest = hidden.new_full(hidden.shape[:1], -torch.inf)
        ids = torch.zeros(hidden.shape[:1], dtype=torch.long, device=hidden.device)
        for start, scores in self._blocks(hidden):
            found, at = scores.max(dim=-1)
            ids = torch.where(found > highest, at + start, ids)
            highest = torch.maximum(highest, found)
        return ids

    def _blocks(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """The words' scores ``[N, words]``, some words at a time, with the first one's id."""
        entries = _CHUNK_ENTRIES if hidden.device.type == "cpu" else _GPU_CHUNK_ENTRIES
        step = max(1, entries // max(1, len(hidden)))
        for start in range(0, len(self.weight), step):
            at = slice(start, start + step)
            products = linear(hidden, self.weight[at], None if self.bias is None else self.bias[at])
            yield start, self.scaling(products)


def trunk_of(model: Any) -> tuple[str, nn.Module]:
    """A causal language model's trunk, and what it is called there."""
    trunk = model.base_model
    if trunk is model:  # where the model's class and its parts do not agree on that name
        trunk = model.get_decoder()
    return next((name, module) for name, module in model.named_modules() if module is trunk)


@torch.no_grad()
def find_readout(model: Any) -> Readout | None:
    """How a causal language model reads scores off its trunk's states, or None where that is not known here.

    What its config names is tried first, then the bare head; the model's own scores of a few tokens decide.

    Args:
        model: as of Transformers' ``AutoModelForCausalLM``, in float32, without dropout.
    """
    head = model.get_output_embeddings()
    if head is None:
        return None
    device = head.weight.device
    step = max(1, len(head.weight) // (_PROBE_TOKENS + 1))
    ids = torch.arange(1, _PROBE_TOKENS + 1, device=device)[None] * step
    expected = model(input_ids=ids, use_cache=False).logits[0]
    hidden = trunk_of(model)[1](input_ids=ids, use_cache=False).last_hidden_state[0]
    for scaling in _candidates(model.config.get_text_config()):
        readout = Readout(head.weight, getattr(head, "bias", None), scaling)
        worst = (readout(hidden) - expected).abs().max()
        if worst <= _TOLERANCE * expected.abs().max().clamp_min(1e-30):
            return readout
    return None


def _candidates(config: Any) -> Iterator[Scaling]:
    def numbers(names: tuple[str, ...]) -> list[float]:
        return [float(value) for name in names if (value := getattr(config, name, None))]

    scale = 1.0
    for factor in (*numbers(_FACTORS), *(1 / divisor for divisor in numbers(_DIVISORS))):
        scale *= factor
    cap = next(iter(numbers(_CAPS)), None)
    yield Scaling(scale, cap)
    yield from (Scaling(scale), Scaling(1.0, cap), Scaling())
