"""Whether a trunk can be computed in the precision that was asked for."""

from __future__ import annotations

import warnings

import torch

from adjudge.core.errors import AdjudgeWarning
from adjudge.core.types import Encoded
from adjudge.models.engine.engine import Engine
from adjudge.models.trunk.precision import Resolved, compute
from adjudge.models.trunk.trial import TOKENS, at_rest, some_ids


def usable_precision(engine: Engine, wanted: Resolved) -> Resolved:
    """The precision that was wanted, or float32 where the trunk fails or overflows in it; a warning says so.

    Args:
        engine: with its trunk, on its device.
        wanted: what the trunk is to compute in.
    """
    if wanted == "float32":
        return wanted
    ids = tuple(some_ids(engine.trunk)[0].tolist())
    rows = [Encoded(ids[:length], ids[-1:], length) for length in (1, TOKENS - 1)]
    try:
        with at_rest(engine.trunk), torch.no_grad(), compute(wanted, next(engine.trunk.parameters()).device):
            states = engine.states(rows, ())
        reason = "" if states.hidden[states.answer].isfinite().all() else "states overflow"
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
    if not reason:
        return wanted
    warnings.warn(
        f"{type(engine.trunk).__name__} cannot be computed in {wanted} ({reason}); float32 is taken instead",
        AdjudgeWarning,
        stacklevel=3,
    )
    return "float32"
