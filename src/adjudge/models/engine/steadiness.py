"""Whether a device rounds a row's numbers the same way whatever rows are computed beside it."""

from __future__ import annotations

import torch

from adjudge.core.errors import ConfigError
from adjudge.models.engine.engine import FAILURES, PROBE_TOLERANCE, Engine
from adjudge.models.engine.probe_rows import probe_rows
from adjudge.models.engine.token_budget import out_of_memory
from adjudge.models.trunk.precision import Resolved, compute


def make_steady(engine: Engine, precision: Resolved) -> bool:
    """Find a way of predicting that rounds a row the same in any batch, and set the engine to it.

    In half precision one product that depends on its number of rows is enough: the first state that is rounded the
    other way moves those behind it, and after some layers all states differ by what the precision rounds. Where
    padding alone is the cause, rows are predicted by equal lengths.

    Args:
        engine: on its device.
        precision: what it computes in. In float32 the engine has compared the same when it was made.

    Returns:
        Whether there is such a way.

    Raises:
        ConfigError: the architecture does not run in this precision.
    """
    if precision == "float32" or _rounds_alike(engine, precision):
        return True
    if engine.path != "padded":
        return False
    engine.prediction_path = "equal lengths"
    if _rounds_alike(engine, precision):
        engine.reason += f"; rows are predicted by equal lengths, since padding changes how {precision} rounds them"
        return True
    engine.prediction_path = "padded"
    return False


@torch.no_grad()
def _rounds_alike(engine: Engine, precision: Resolved) -> bool:
    """Whether a few rows, predicted together, have the states of each alone, to `PROBE_TOLERANCE` of the largest."""
    trunk = engine.trunk
    rows, prefix = probe_rows(trunk.config, causal=engine.causal)
    training = trunk.training
    trunk.eval()
    try:
        with compute(precision, next(trunk.parameters()).device):
            kept = engine.prefix_states(prefix) if engine.caches else None
            batches = [rows, *([row] for row in rows)]
            found = [engine.states(batch, prefix, (), kept, predicting=True) for batch in batches]
    except FAILURES as error:
        if out_of_memory(error):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ConfigError(
            f"precision: {type(trunk).__name__} does not run in {precision} ({what}); set precision: float32"
        ) from error
    finally:
        trunk.train(training)
    together, *alone = (states.hidden[states.answer].float() for states in found)
    expected = torch.cat(alone)
    return bool((together - expected).abs().max() <= PROBE_TOLERANCE * expected.abs().max())
