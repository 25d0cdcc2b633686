"""Learning-rate schedules as a factor of the peak rate."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def schedule_factor(schedule: Schedule, step: int, total: int, warmup: int, floor: float = 0.0) -> float:
    """The learning rate of a step as a share of its peak.

    Args:
        schedule: the form after the warm-up.
        step: 0-based.
        total: number of steps.
        warmup: steps over which the rate rises linearly; the first step has ``1 / warmup`` of the peak.
        floor: share of the peak at the end of ``linear`` and ``cosine``.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    falling = 1.0 - share if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
    return floor + (1.0 - floor) * falling
