"""A soft vote of runs as a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import DataError, UsageError
from adjudge.core.hashing import hash_json
from adjudge.core.protocols import Progress
from adjudge.core.runs import Run
from adjudge.derive.derived_run import DerivedRun, make_run, refuse_existing, summed_cost
from adjudge.evaluate.predictions import read_arrays
from adjudge.experiment.source_runs import SPLITS, SourceRun, beside, open_run
from adjudge.models.classifiers.ensemble import EnsembleClassifier
from adjudge.models.classifiers.storage import load_classifier

Weighting = Literal["equal", "validation"]
_ITERATIONS = 200


def ensemble_runs(
    runs: Sequence[Run],
    folder: Path | None = None,
    *,
    weighting: Weighting = "equal",
    progress: Progress | None = None,
) -> Run:
    """Let runs vote with their calibrated probabilities; the vote itself is calibrated on validation, as a run is.

    Args:
        runs: at least two, complete, of one task and one split, with stored texts.
        folder: of the new run; default: ``ensemble-<hash>`` beside the first.
        weighting: ``equal``, or ``validation``: the weights that make the validation labels most likely.
        progress: where bars are drawn.

    Returns:
        The new run. ``facts.paired`` tests it against each member; its costs are the members' together.

    Raises:
        UsageError: fewer than two runs, one run twice, or the folder is there.
        DataError: labels or rows differ, or a run cannot be made from (see `open_run`).
        WorkError: the round trip fails.
    """
    if len({run.path.resolve() for run in runs}) < max(2, len(runs)):
        raise UsageError(f"an ensemble needs at least two different runs, got {', '.join(run.name for run in runs)}")
    sources = [open_run(run) for run in runs]
    refuse_unlike(sources)
    names = [run.name for run in runs]
    target = folder or beside(sources[0], f"ensemble-{hash_json([names, weighting])[:8]}")
    refuse_existing(target)
    weights = [1 / len(runs)] * len(runs)
    if weighting == "validation":
        weights = mixture_weights(_likelihoods(sources))
    classifier = EnsembleClassifier([load_classifier(source.model) for source in sources], weights)
    precisions = {str(source.record["facts"].get("precision")) for source in sources}
    derived = DerivedRun(
        folder=target,
        method="ensemble",
        config={"members": names, "weighting": weighting},
        facts={
            "members": names,
            "weights": weights,
            "precision": "bfloat16" if "bfloat16" in precisions else None,
        },
        labels_used=shared_labels_used(sources),
        data=sources[0].data,
        against=sources,
        cost=summed_cost(sources),
    )
    return make_run(derived, classifier, progress)


def shared_labels_used(sources: Sequence[SourceRun]) -> dict[str, int]:
    """Labels that shaped the sources, by split; they share their rows, so the largest number counts."""
    used = [source.record["labels_used"] for source in sources]
    return {name: max(one.get(name, 0) for one in used) for name in dict.fromkeys(key for one in used for key in one)}


def refuse_unlike(sources: Sequence[SourceRun]) -> None:
    """Votes are counted over the same labels and measured on the same rows.

    Raises:
        DataError: every run that differs from the first, and in what.
    """
    first, problems = sources[0], []
    for other in sources[1:]:
        pair = f"{first.run.name} and {other.run.name}"
        if first.labels != other.labels:
            problems.append(f"{pair}: different labels: {list(first.labels)} and {list(other.labels)}")
        if first.data.problem != other.data.problem:
            problems.append(f"{pair}: different problems: {first.data.problem.kind}, {other.data.problem.kind}")
        for name in SPLITS:
            ours, theirs = first.splits.get(name), other.splits.get(name)
            rows = [
                None if split is None else list(zip(split.row_ids, split.texts, strict=True))
                for split in (ours, theirs)
            ]
            if rows[0] != rows[1]:
                problems.append(f"{pair}: different {name} rows; take runs of one recipe, or of one split")
            elif ours is not None and theirs is not None and ours.labels != theirs.labels:
                problems.append(f"{pair}: different gold labels of the same {name} rows; take runs of one task")
    if problems:
        raise DataError(problems)


def _likelihoods(sources: Sequence[SourceRun]) -> npt.NDArray[np.float64]:
    """What each member gives the gold answers of validation, ``[M, D]``: one for a row, or for each label of it."""
    likelihoods = []
    for source in sources:
        arrays = read_arrays(source.run.predictions("validation"), source.labels, source.data.problem)
        if arrays.sets is None:
            likelihoods.append(arrays.probs[np.arange(len(arrays.gold)), arrays.gold])
        else:
            likelihoods.append(np.where(arrays.sets[arrays.gold], arrays.probs, 1 - arrays.probs).ravel())
    return np.stack(likelihoods).astype(np.float64)


def mixture_weights(likelihoods: npt.NDArray[np.float64]) -> list[float]:
    """Weights of a mixture that make what was observed most likely, by expectation maximisation from equal ones.

    The log-likelihood is concave in the weights, so there is one optimum; each iteration raises it (Dempster, Laird
    and Rubin 1977): ``w_m <- mean_n  w_m p_m(y_n) / sum_k w_k p_k(y_n)``.

    Args:
        likelihoods: ``[M, N]`` the members' probabilities of the gold answers.
    """
    likelihood = np.maximum(likelihoods, 1e-12)
    weights = np.full(len(likelihood), 1 / len(likelihood))
    for _ in range(_ITERATIONS):
        shares = weights[:, None] * likelihood
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return [float(weight) for weight in weights / weights.sum()]
