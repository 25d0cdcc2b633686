"""The error rates of the choice in short: a handful of worlds, and whether they would show a rule that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from choice_error import ALPHA, failures, measure
from choice_methods import counted, differing, lower_recall
from choice_scenarios import SHORT, matching, simulated_worlds
from choice_trials import exact_interval, run_trial
from choice_worlds import CountWorld, LossWorld, World

from adjudge.evaluate import population
from adjudge.evaluate.metrics import classification_metrics
from adjudge.evaluate.population import Draws
from adjudge.evaluate.sets import set_macro_f1

REPEATS, DRAWS = 50, 200
QUICK = ("rare/2-of-2000", "labels/absent-0.5-of-500", "rows/one-loss-in-100", "log-loss/500-confident-mistakes")
WORLDS = {world.setup.name: world for world in simulated_worlds()}


def share_above_alpha(events: list[bool]) -> bool:
    """Whether so many events show a chance above 5%, at a level of 1 in 1,000."""
    return exact_interval(sum(events), len(events), confidence=0.998)[0] > ALPHA


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SHORT]
)
def test_choices_are_wrong_and_bounds_too_high_in_no_more_than_5_percent(name: str) -> None:
    trials = [run_trial(WORLDS[name], number, DRAWS) for number in range(REPEATS)]
    assert not share_above_alpha([trial.wrong for trial in trials])
    assert not share_above_alpha([trial.bound_fails for trial in trials])


@pytest.mark.parametrize("name", ["rare/2-of-2000", "rare/3-of-1000"])
def test_bounds_without_the_row_that_nobody_saw_would_be_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = population._row_weights

    def nothing_unseen(*arguments: object) -> Iterator[tuple[Draws, Draws]]:
        return ((weights, 0 * unseen) for weights, unseen in drawn(*arguments))

    monkeypatch.setattr(population, "_row_weights", nothing_unseen)
    assert share_above_alpha([run_trial(WORLDS[name], number, DRAWS).wrong for number in range(REPEATS)])


def in_the_long_run(world: World) -> np.ndarray:
    """What the metrics of the package say of a very large test set, higher is better, ``[M]``."""
    sample, setup = world.draw(np.random.default_rng(0)), world.setup
    found = []
    for place, runs in enumerate(sample.answers):
        if sample.sets is not None:
            found.append(np.mean([set_macro_f1(sample.sets[sample.gold], sample.sets[run]) for run in runs]))
            continue
        for_all = np.full((len(sample.gold), setup.labels), 1 / setup.labels)
        probs = for_all if sample.probs is None else sample.probs[place][0]
        labels = [str(number) for number in range(setup.labels)]
        metrics = [classification_metrics(sample.gold, probs, labels, predicted=run) for run in runs]
        sign = -1 if setup.metric == "log_loss" else 1
        found.append(sign * np.mean([float(one[setup.metric]) for one in metrics]))
    return np.array(found)


def large(name: str) -> World:
    world = WORLDS[name]
    if isinstance(world, LossWorld):
        return replace(world, rows=400_000)
    assert isinstance(world, CountWorld)
    return replace(world, label_rows=world.label_rows * (400_000 // world.n_rows), rows=world.rows and 400_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "rare/10-of-2000", "mcc/10-zipf-2000", "replies/unread-2000", "rows/100-apart", "log-loss/500",
        "multi-label/5-rare-1-percent", "labels/20-zipf-2000-drawn",
    ],
)  # fmt: skip
def test_the_truth_is_what_the_metric_says_of_very_many_rows(name: str) -> None:
    world = large(name)
    sample = world.draw(np.random.default_rng(0))
    np.testing.assert_allclose(in_the_long_run(world), sample.truths, atol=0.006)


def test_with_several_seeds_the_truth_is_the_mean_over_seeds_and_with_one_that_of_the_run() -> None:
    world = counted("x", (200_000, 200_000), 0.9, metric="accuracy", seeds=(3, 1), seed_sd=0.03)
    world = differing(world, lower_recall(), [-0.05])
    world = replace(world, seeds=(3, 1))
    sample = world.draw(np.random.default_rng(1))
    assert sample.truths[0] == pytest.approx(0.9, abs=1e-3)
    assert sample.truths[1] == pytest.approx((sample.answers[1] == sample.gold).mean(), abs=2e-3)
    assert sample.truths[1] != pytest.approx(0.85, abs=5e-3)


def test_a_world_with_several_processes_is_the_same_as_with_one() -> None:
    worlds = matching(simulated_worlds(), "rows/300-*")
    assert measure(worlds, 30, 20, jobs=1) == measure(worlds, 30, 20, jobs=2)


def test_what_misses_an_aim_is_named_and_limits_are_not() -> None:
    share = {"share": 0.2, "low": 0.15, "high": 0.25}
    fine = {"share": 0.01, "low": 0.0, "high": 0.03}
    one = {"world": "a/b", "limit": "", "wrong": share, "bound_fails": fine, "wrongly_beyond": fine}
    one |= {"differences_covered": {"share": 0.9, "low": 0.88, "high": 0.92}, "own_covered": None}
    assert failures([one]) == [
        "a/b: wrong 20.0 (15.0–25.0)",
        "a/b: differences_covered 90.0 (88.0–92.0)",
    ]
    assert failures([one | {"limit": "seeds are normal"}]) == []


def test_names_of_worlds_differ_and_an_unknown_one_is_refused() -> None:
    names = [world.setup.name for world in simulated_worlds()]
    assert len(names) == len(set(names)) > 80
    with pytest.raises(SystemExit, match="no world has such a name"):
        matching(simulated_worlds(), "nowhere/*")
