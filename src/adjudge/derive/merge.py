"""Merging a run's adapter into 16-bit weights: a run of its own, tested against the one that it came from."""

from __future__ import annotations

from pathlib import Path

from adjudge.core.errors import ConfigError
from adjudge.core.protocols import Progress
from adjudge.core.runs import Run
from adjudge.derive.derived_run import DerivedRun, make_run, refuse_existing, summed_cost
from adjudge.experiment.source_runs import SourceRun, beside, open_run
from adjudge.models.classifiers.neural import NeuralClassifier
from adjudge.models.classifiers.storage import load_classifier
from adjudge.models.derive.folding import merge_adapter
from adjudge.models.trunk.precision import WeightsType


def merge_run(
    run: Run, folder: Path | None = None, *, weights: WeightsType = "bfloat16", progress: Progress | None = None
) -> Run:
    """Merge a run's adapter into its base model's weights.

    Args:
        run: complete, with stored texts.
        folder: of the merged run; default: ``<run>-merged-<weights>`` beside it.
        weights: the number format of the merged weights.
        progress: where bars are drawn.

    Returns:
        The new run. ``facts.paired`` holds the test against the unmerged one, ``facts.round_trip`` what reloading
        the merged files in a fresh process showed.

    Raises:
        UsageError: the folder is there.
        DataError: the run cannot be made from (see `open_run`).
        ConfigError: its model has no adapter that can be merged.
        WorkError: a weight does not fit the format, or the round trip fails.
    """
    source = open_run(run, replies=True)
    target = folder or beside(source, f"{run.name}-merged-{weights}")
    refuse_existing(target)
    merged = merge_adapter(load_network(source), weights)
    kept = ("engine", "engine_reason", "precision", "generation")
    facts = source.record["facts"]
    derived = DerivedRun(
        folder=target,
        method="merged",
        config={"from": run.name, "weights": weights, "options": source.record["config"]["method"]},
        facts={name: facts[name] for name in kept if name in facts},
        labels_used=source.record["labels_used"],
        data=source.data,
        against=[source],
        cost=summed_cost([source]),
    )
    return make_run(derived, merged, progress)


def load_network(source: SourceRun) -> NeuralClassifier:
    """A run's classifier, which must stand on a neural network.

    Raises:
        ConfigError: it does not.
    """
    classifier = load_classifier(source.model)
    if not isinstance(classifier, NeuralClassifier):
        kind = source.record["method"]
        raise ConfigError(f"{source.run.path}: the method {kind!r} has no neural network; name a run of one that has")
    return classifier
