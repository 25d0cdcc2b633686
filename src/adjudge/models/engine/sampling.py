"""How the next token is chosen, and when a reply has come to its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from adjudge.core.errors import ConfigError

Ending = Literal["token", "text", "repetition", "length"]

# The longest stretch of tokens whose repetition is noticed.
LONGEST_REPEATED = 32
# Of how many of the best tokens the most probable part is looked for first; rarely are they not enough.
_LIKELY_TOKENS = 1024


@dataclass(frozen=True)
class Sampling:
    """How replies are written.

    Attributes:
        max_new_tokens: of a reply, at most; 1 or more.
        temperature: what scores are divided by before they become probabilities; 0 takes the best token each time.
        top_k: how many of the best tokens may be drawn; None: all.
        top_p: the smallest set of best tokens of at least this probability may be drawn, of what `top_k` leaves; in
            (0, 1].
        stop_ids: tokens that end a reply.
        stop_strings: texts that end a reply; they are not part of it.
        max_repeats: a reply ends when a stretch of at most `LONGEST_REPEATED` tokens stands so many times in a row
            at its end; 2 or more; None: never.

    Raises:
        ConfigError: a value is out of its range; names them all.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    stop_ids: frozenset[int] = frozenset()
    stop_strings: tuple[str, ...] = ()
    max_repeats: int | None = None

    def __post_init__(self) -> None:
        allowed = (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more"),
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 or more"),
            ("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "1 or more, or left out"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("stop_strings", self.stop_strings, all(self.stop_strings), "texts that are not empty"),
            ("max_repeats", self.max_repeats, self.max_repeats is None or self.max_repeats >= 2, "2 or more"),
        )
        if wrong := [f"{name} is {value!r}, allowed: {what}" for name, value, fits, what in allowed if not fits]:
            raise ConfigError("sampling: " + "; ".join(wrong))

    @property
    def greedy(self) -> bool:
        """Whether the best token is taken each time, so that nothing is drawn."""
        return self.temperature == 0


def choose(
    scores: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the next token of every row.

    Args:
        scores: ``[R, V]`` of the vocabulary, float32 or better.
        sampling: how.
        uniforms: ``[R]`` float64 random numbers in [0, 1), one of each row's stream; None takes the best tokens.

    Returns:
        Ids ``[R]``, of equal best ones the lowest, and their log-probabilities ``[R]`` in nats under the model itself:
        at temperature 1, over the whole vocabulary.
    """
    if sampling.greedy or uniforms is None:
        ids = scores.argmax(dim=-1)
    else:
        ids = _draw(scores / sampling.temperature, sampling, uniforms)
    return ids, scores.gather(1, ids[:, None])[:, 0] - scores.logsumexp(dim=-1)


def _draw(scores: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor) -> torch.Tensor:
    vocabulary = scores.shape[1]
    if sampling.top_k is not None:
        values, ids = scores.topk(min(sampling.top_k, vocabulary))
        return _nucleus(values.softmax(dim=-1), ids, sampling.top_p, uniforms)
    if sampling.top_p == 1:
        return _invert(scores.softmax(dim=-1), uniforms)
    values, ids = scores.topk(min(_LIKELY_TOKENS, vocabulary))
    probabilities = (values - scores.logsumexp(dim=-1, keepdim=True)).exp()
    found = _nucleus(probabilities, ids, sampling.top_p, uniforms)
    # Decided for each row by itself, so that no row's draw depends on its neighbours.
    spread = (probabilities.sum(dim=-1, dtype=torch.float64) < sampling.top_p).nonzero()[:, 0]
    if len(spread) and ids.shape[1] < vocabulary:
        values, ids = scores[spread].sort(dim=-1, descending=True)
        found[spread] = _nucleus(values.softmax(dim=-1), ids, sampling.top_p, uniforms[spread])
    return found


def _nucleus(probabilities: torch.Tensor, ids: torch.Tensor, share: float, uniforms: torch.Tensor) -> torch.Tensor:
    """Draw from the best tokens, ``[R, k]`` in falling order, that together have at least this probability."""
    before = probabilities.cumsum(dim=-1, dtype=torch.float64) - probabilities
    before[:, 0] = 0.0  # the best one may always be drawn
    at = _invert(probabilities.masked_fill(before >= share, 0.0), uniforms)
    return ids.gather(1, at[:, None])[:, 0]


def _invert(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Where the cumulative probabilities ``[R, k]`` exceed a share of their total: ``[R]``."""
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)
    wanted = uniforms[:, None] * cumulative[:, -1:]
    # Beyond the end lies only what is no number, and that is for the caller to find.
    return torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp_max(probabilities.shape[1] - 1)


def repeats(ids: Sequence[int], times: int) -> bool:
    """Whether a reply ends with a stretch of at most `LONGEST_REPEATED` tokens so many times in a row."""
    for length in range(1, min(LONGEST_REPEATED, len(ids) // times) + 1):
        if ids[-1] == ids[-1 - length] and list(ids[-length * times :]) == list(ids[-length:]) * times:
            return True
    return False
