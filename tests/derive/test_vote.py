"""Votes of runs: the right rows, the right weights, and a run like any other."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from adjudge.core.errors import DataError, UsageError
from adjudge.core.runs import Run
from adjudge.derive.vote import ensemble_runs, mixture_weights
from adjudge.evaluate.calibration import softmax
from tests.tiny_runs import TinyRuns


def test_a_vote_is_the_mean_of_the_members_probabilities(tiny_runs: TinyRuns, tmp_path, fast_verify) -> None:
    members = [tiny_runs["tfidf"], tiny_runs["first"]]
    made = ensemble_runs(members, tmp_path / "vote")
    columns = ["prob_neg", "prob_pos"]
    mean = np.mean([run.predictions("test").select(columns).to_numpy() for run in members], axis=0)
    logits = made.predictions("test").select(["logit_neg", "logit_pos"]).to_numpy()
    np.testing.assert_allclose(softmax(logits), mean, atol=1e-5)
    record = made.record()
    expected = softmax(logits, record["calibration"]["temperature"])
    np.testing.assert_allclose(made.predictions("test").select(columns).to_numpy(), expected, atol=1e-5)
    assert record["facts"]["weights"] == [0.5, 0.5]
    assert [test["run"] for test in record["facts"]["paired"]] == [run.name for run in members]
    costs = [run.record()["cost"]["train_seconds"] for run in members]
    assert record["cost"]["train_seconds"] == pytest.approx(sum(costs))
    assert record["labels_used"]["train"] == members[0].record()["labels_used"]["train"]


@pytest.mark.slow
def test_a_vote_answers_the_same_in_a_fresh_process_and_can_be_voted_with_again(tiny_runs, tmp_path) -> None:
    made = ensemble_runs([tiny_runs["tfidf"], tiny_runs["mean"]], tmp_path / "vote", weighting="validation")
    assert sum(made.record()["facts"]["weights"]) == pytest.approx(1)
    trip = made.record()["facts"]["round_trip"]
    assert trip["largest_difference"] <= trip["tolerance"]
    again = ensemble_runs([made, tiny_runs["tfidf"]], tmp_path / "again")
    assert again.record()["status"] == "complete"


def test_weights_maximise_the_likelihood_of_validation() -> None:
    draw = np.random.default_rng(0)
    probs = draw.dirichlet([1.0, 1.0, 1.0], size=(3, 400))
    probs[0, np.arange(400), 0] += 0.6
    probs /= probs.sum(axis=2, keepdims=True)
    gold = np.where(draw.random(400) < 0.7, 0, draw.integers(0, 3, 400)).astype(np.int64)
    likelihood = probs[:, np.arange(400), gold]
    found = mixture_weights(likelihood)

    def loss(weights: np.ndarray) -> float:
        return -float(np.log(weights @ likelihood).mean())

    best = minimize(loss, [1 / 3] * 3, bounds=[(0, 1)] * 3, constraints={"type": "eq", "fun": lambda w: w.sum() - 1})
    assert loss(np.array(found)) <= best.fun + 1e-4
    assert sum(found) == pytest.approx(1)


def test_runs_that_cannot_vote_together_are_refused(tiny_runs: TinyRuns, tmp_path) -> None:
    with pytest.raises(UsageError, match="two different runs"):
        ensemble_runs([tiny_runs["tfidf"]] * 2, tmp_path / "vote")
    with pytest.raises(UsageError, match="two different runs"):
        ensemble_runs([tiny_runs["tfidf"]], tmp_path / "vote")
    other = tmp_path / "other"
    shutil.copytree(tiny_runs["tfidf"].path, other)
    for file in ("predictions/test.parquet", "predictions/validation.parquet"):
        pl.read_parquet(other / file).head(-1).write_parquet(other / file)
    with pytest.raises(DataError, match="different validation rows") as error:
        ensemble_runs([tiny_runs["tfidf"], Run(other)], tmp_path / "vote")
    assert len(error.value.problems) == 2
    assert not (tmp_path / "vote").exists()
