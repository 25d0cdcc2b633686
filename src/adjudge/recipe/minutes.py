"""How long the methods of a starting recipe may take here: a rough estimate from rows, lengths and a short probe."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

CHARS_PER_TOKEN = 4.0
EFFICIENCY = 0.3
"""Share of the speed of a large matrix product that training small models reaches; the rest is attention, memory."""


def guess_tokens(text: str) -> float:
    """Tokens of a text, roughly: four ASCII characters make one, and so does any other character.

    Vocabularies of the small models here were made from English; other scripts fall apart into their characters.
    """
    ascii_characters = len(text.encode("ascii", "ignore"))
    return ascii_characters / CHARS_PER_TOKEN + len(text) - ascii_characters


def matrix_speed(size: int = 1024, repeats: int = 3) -> float:
    """Floating-point operations a second of this machine: the best of a few float32 matrix products."""
    matrix = np.ones((size, size), dtype=np.float32)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        _ = matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


@dataclass(frozen=True)
class Work:
    """What one pass costs: parameters that work on every token, operations for each of them, passes over train."""

    method: str
    model: str | None
    parameters: float
    operations: float
    epochs: float


# Parameters without the embedding table. A forward pass costs 2 operations each, a backward pass through frozen
# weights 2 more, one that also gives weight gradients 4 more.
WORK = (
    Work("majority", None, 0, 0, 0),
    Work("tfidf", None, 0, 0, 0),
    Work("embedding", "minilm-l6", 10.6e6, 2, 1),
    Work("zero_shot", "smollm2-135m", 106.2e6, 2, 0),
    Work("full", "minilm-l6", 10.6e6, 6, 3),
    Work("lora", "smollm2-135m", 106.2e6, 4, 1.5),
)


def estimate_minutes(rows: int, mean_tokens: float, operations_per_second: float) -> dict[str, float]:
    """Minutes that each method may take: training on 70% of the rows, prediction on 30%.

    Operations are counted as parameters × tokens (Kaplan et al. 2020, section 2.1) and run at `EFFICIENCY` of the
    machine's matrix products. Hardware with bfloat16 units is faster; the first run also converts a model.
    """
    tokens = min(mean_tokens + 8, 256) * rows
    found = {}
    for work in WORK:
        training = 0.7 * work.operations * work.epochs
        prediction = 0.3 * 2
        operations = work.parameters * tokens * (training + prediction)
        found[work.method] = (operations / (EFFICIENCY * operations_per_second) + 10 + rows / 2_000) / 60
    return found


def shown_minutes(minutes: float) -> str:
    """Minutes in words: ``under a minute``, ``about 12 min``, ``about 2.5 h``."""
    if minutes < 1:
        return "under a minute"
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
