"""Several tasks in one training: shares by the formula, each task's rows in its own order, one task as it is alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adjudge.core.errors import ConfigError, DataError
from adjudge.core.protocols import SilentProgress
from adjudge.models.engine.heads import JointHead, ScoreHead
from adjudge.models.engine.network import Network
from adjudge.train.batches import batches
from adjudge.train.checkpoints import Checkpoints
from adjudge.train.loop import Trainer
from adjudge.train.multitask import TrainingTask, joined, mixed_batches, mixing_shares, mixing_steps
from tests.train.builders import config, network_of, rows, same, weights
from tests.train.interruption import Interrupted, Until


def tasks_of(folders: Path, sizes: tuple[int, ...], *, dropout: float = 0.0) -> list[TrainingTask]:
    """Tasks of three classes each, of so many rows, with prompts of their own on one trunk."""
    first = network_of("score", folders, dropout=dropout)
    networks = [first]
    for i in range(1, len(sizes)):
        with torch.random.fork_rng():
            torch.manual_seed(i)
            networks.append(Network(first.engine, ScoreHead(32, 3, pooling="last", dropout=dropout), (5, 6, 7 + i)))
    return [
        TrainingTask(network, rows(size, i), rows(12, 9 + i), 3, f"task{i}")
        for i, (network, size) in enumerate(zip(networks, sizes, strict=True))
    ]


def fit(tasks: list[TrainingTask], temperature: float = 1.0, **options: object):
    events: list[dict[str, object]] = []
    network = joined([task.network for task in tasks])
    trainer = Trainer(network, config(**options), 0, SilentProgress(), events.append)
    done, selection = trainer.fit_tasks(tasks, temperature)
    return network, done, selection, events


def test_shares_are_those_of_the_formula() -> None:
    np.testing.assert_allclose(mixing_shares([900, 100], 1.0), [0.9, 0.1])
    np.testing.assert_allclose(mixing_shares([900, 100], 2.0), [0.75, 0.25])
    np.testing.assert_allclose(mixing_shares([8000, 1000, 1], 3.0), np.array([20, 10, 1]) / 31)
    np.testing.assert_allclose(mixing_shares([900, 100], 1e9), [0.5, 0.5])


@pytest.mark.parametrize("sizes", [(900, 100), (8000, 1000, 1), (7, 7, 7), (1, 10_000)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 100.0])
def test_steps_follow_the_shares_to_less_than_one_and_leave_no_task_out(
    sizes: tuple[int, ...], temperature: float
) -> None:
    total = 97
    counts = mixing_steps(sizes, temperature, total)
    assert sum(counts) == total
    assert min(counts) >= 1
    exact = mixing_shares(sizes, temperature) * total
    raised = sum(share < 1 for share in exact)
    assert all(abs(count - share) < 1 + raised for count, share in zip(counts, exact, strict=True))


def test_fewer_steps_than_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 steps are too few for 3 tasks"):
        mixing_steps([5, 5, 5], 1.0, 2)


def test_each_task_goes_through_its_own_rows_as_it_would_alone(folders: Path) -> None:
    tasks, options = tasks_of(folders, (40, 16)), config()
    steps = list(mixed_batches(tasks, options, 20, 3, 2.0))
    turns = [turn for turn, _ in steps]
    counts = mixing_steps([40, 16], 2.0, 20)
    assert [turns.count(0), turns.count(1)] == counts
    assert turns != sorted(turns)
    for i, task in enumerate(tasks):
        alone = list(batches(len(task.train), options.batch_size, counts[i], 3))
        assert [batch for turn, batch in steps if turn == i] == alone
    assert list(mixed_batches(tasks, options, 20, 3, 2.0, first=7)) == steps[7:]
    assert [turn for turn, _ in mixed_batches(tasks, options, 20, 4, 2.0)] != turns


def test_one_task_is_trained_as_it_is_alone(folders: Path) -> None:
    (task,) = tasks_of(folders, (32,))
    network, done, selection, events = fit([task], temperature=7.0)
    alone, logged = network_of("score", folders), []
    plain, chosen = Trainer(alone, config(), 0, SilentProgress(), logged.append).fit(task.train, task.validation, 3)
    assert same(weights(network), weights(alone))
    assert (done.steps, done.tokens, done.best_step) == (plain.steps, plain.tokens, plain.best_step)
    np.testing.assert_array_equal(selection.logits, chosen.logits)
    assert [{**event, "loss": 0} for event in events] == [{**event, "loss": 0} for event in logged]


def test_trunk_and_every_head_learn_and_the_mean_chooses(folders: Path) -> None:
    tasks = tasks_of(folders, (32, 16))
    before = [weights(task.network) for task in tasks]
    network, done, selection, events = fit(tasks, 1.0, epochs=4.0)
    assert isinstance(network.head, JointHead)
    names = network.trainable()
    assert {"head.heads.0.linear.weight", "head.heads.1.linear.weight"} <= names.keys()
    assert sum(name.startswith("trunk.") for name in names) == sum(name.startswith("trunk.") for name in before[0])
    assert not any(same(weights(task.network), was) for task, was in zip(tasks, before, strict=True))
    assert done.steps == 4 * (4 + 2)
    evaluations = [event for event in events if event["event"] == "evaluation"]
    for event in evaluations:
        scores = [task["macro_f1"] for task in event["tasks"].values()]  # type: ignore[attr-defined]
        assert event["macro_f1"] == pytest.approx(sum(scores) / 2)
    assert set(evaluations[0]["tasks"]) == {"task0", "task1"}  # type: ignore[call-overload]
    assert selection.macro_f1 == max(event["macro_f1"] for event in evaluations)  # type: ignore[type-var]
    assert {event["task"] for event in events if event["event"] == "step"} <= {"task0", "task1"}
    found = [task.network.predict_logits(task.validation.encoded, 3) for task in tasks]
    assert all(np.isfinite(logits).all() for logits in found)


def test_interrupted_and_resumed_it_ends_with_the_same_weights(folders: Path, tmp_path: Path) -> None:
    options = {"epochs": 3.0}
    whole, *_ = fit(tasks_of(folders, (32, 16), dropout=0.1), 2.0, **options)
    for progress in (Until(7), SilentProgress()):
        tasks = tasks_of(folders, (32, 16), dropout=0.1)
        network = joined([task.network for task in tasks])
        checkpoints = Checkpoints(tmp_path / "checkpoint", 0.0, lambda event: None)
        trainer = Trainer(network, config(**options), 0, progress, lambda event: None, None, checkpoints)
        if isinstance(progress, Until):
            with pytest.raises(Interrupted):
                trainer.fit_tasks(tasks, 2.0)
        else:
            done, _ = trainer.fit_tasks(tasks, 2.0)
    assert done.resumed_after == [6]
    assert same(weights(network), weights(whole))


def test_what_decides_in_place_of_the_scores_is_what_is_looked_at(folders: Path) -> None:
    (task,) = tasks_of(folders, (16,))
    always = replace(task, decide=lambda encoded: np.zeros(len(encoded), dtype=np.int64))
    *_, events = fit([always], epochs=1.0)
    share = float((task.validation.targets == 0).mean())
    assert {event["accuracy"] for event in events if event["event"] == "evaluation"} == {share}


def test_a_task_without_rows_is_named(folders: Path) -> None:
    first, second = tasks_of(folders, (16, 16))
    with pytest.raises(DataError, match="task1: validation has no rows"):
        fit([first, replace(second, validation=rows(0))])
