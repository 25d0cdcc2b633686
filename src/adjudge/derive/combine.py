"""Several runs' adapters on one base model combined into one model: a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adjudge.core.errors import UsageError
from adjudge.core.hashing import hash_json
from adjudge.core.protocols import Progress
from adjudge.core.runs import Run
from adjudge.derive.derived_run import DerivedRun, make_run, refuse_existing, summed_cost
from adjudge.derive.merge import load_network
from adjudge.derive.vote import refuse_unlike, shared_labels_used
from adjudge.experiment.source_runs import beside, open_run
from adjudge.models.derive.combining import How, combine_adapters, default_weights


def combine_runs(
    runs: Sequence[Run],
    how: How,
    folder: Path | None = None,
    *,
    weights: Sequence[float] | None = None,
    density: float = 0.5,
    progress: Progress | None = None,
) -> Run:
    """Combine the LoRA adapters of runs; see `adjudge.models.derive.combining.combine_adapters`.

    Args:
        runs: at least two, complete, of one base model, task and split, with stored texts.
        how: ``linear``, ``ties``, ``dare_linear`` or ``dare_ties``.
        folder: of the new run; default: ``<how>-<hash>`` beside the first.
        weights: of the adapters.
        density: share of each change's entries that is kept.
        progress: where bars are drawn.

    Raises:
        UsageError: fewer than two runs, one run twice, or the folder is there.
        ConfigError: adapters that cannot be combined.
        DataError: labels or rows differ, or a run cannot be made from.
        WorkError: the round trip fails.
    """
    if len({run.path.resolve() for run in runs}) < max(2, len(runs)):
        raise UsageError(f"combining needs at least two different runs, got {', '.join(run.name for run in runs)}")
    sources = [open_run(run) for run in runs]
    refuse_unlike(sources)
    shares = list(weights) if weights is not None else default_weights(how, len(runs))
    config = {"from": [run.name for run in runs], "weights": shares}
    config |= {} if how == "linear" else {"density": density}
    target = folder or beside(sources[0], f"{how}-{hash_json(config)[:8]}")
    refuse_existing(target)
    seed = int(sources[0].record["seed"])
    loaded = [load_network(source) for source in sources]
    classifier = combine_adapters(loaded, how, weights=shares, density=density, seed=seed)
    kept = ("engine", "engine_reason", "precision")
    derived = DerivedRun(
        folder=target,
        method=f"combined-{how}",
        config=config,
        facts={name: sources[0].record["facts"].get(name) for name in kept},
        labels_used=shared_labels_used(sources),
        data=sources[0].data,
        against=sources,
        cost=summed_cost(sources),
    )
    return make_run(derived, classifier, progress)
