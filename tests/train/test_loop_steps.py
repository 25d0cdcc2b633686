"""What a step of the loop does to the last digit: gradients, rates, counts, and what others are told of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from adjudge.core.errors import WorkError
from adjudge.core.protocols import Advance, SilentProgress
from adjudge.core.seeds import stream_generator
from adjudge.models.engine.heads import ScoreHead
from adjudge.models.engine.network import Network
from adjudge.train import loop
from adjudge.train.batches import EncodedRows, batches
from adjudge.train.checkpoints import Checkpoints
from adjudge.train.loop import Trainer, checked_rows
from adjudge.train.multitask import joined
from tests.train.builders import config, network_of, rows, same, train, weights
from tests.train.test_multitask import tasks_of

STILL = {"learning_rate": 1e-12, "schedule": "constant", "weight_decay": 0.0}
"""Steps that move nothing that could be measured."""
UNCLIPPED = {"optimizer": {"max_grad_norm": 1e9}}


def gradients_after_steps(network: Network) -> list[dict[str, torch.Tensor]]:
    """Filled with the gradients of every step."""
    found: list[dict[str, torch.Tensor]] = []

    def after_step(_: int) -> None:
        found.append({name: p.grad.clone() for name, p in network.trainable().items() if p.grad is not None})

    network.after_step = after_step  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_loss_and_gradient_of_every_step_are_those_of_its_batch_alone(precision: Any, folders: Path) -> None:
    network, data = network_of("score", folders), rows(32)
    network.precision = precision
    found = gradients_after_steps(network)
    _, events = train(network, config(epochs=2.5, batch_size=16, **STILL, **UNCLIPPED))
    order = list(batches(32, 16, 5, 0))
    network.train(True)
    for batch, gradients in zip(order, found, strict=True):
        for parameter in network.trainable().values():
            parameter.grad = None
        loss = cross_entropy(
            network.logits([data.encoded[i] for i in batch]), torch.from_numpy(data.targets[list(batch)])
        )
        loss.backward()
        tolerance = 1e-3 if precision == "float32" else 0.1
        expected = {name: p.grad for name, p in network.trainable().items() if p.grad is not None}
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        for name, gradient in expected.items():
            torch.testing.assert_close(gradients[name], gradient, rtol=tolerance, atol=tolerance * largest)
    (logged,) = [event["loss"] for event in events if event["event"] == "step"]
    assert logged == pytest.approx(loss.item(), rel=1e-5 if precision == "float32" else 1e-2)


def test_the_optimiser_takes_the_rate_of_the_schedule_in_every_group(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[torch.optim.Optimizer] = []
    real = loop.build_optimizer
    monkeypatch.setattr(loop, "build_optimizer", lambda *given: built.append(real(*given)) or built[-1])
    network = network_of("score", folders)
    rates: list[list[float]] = []
    network.after_step = lambda _: rates.append([group["lr"] for group in built[0].param_groups])  # type: ignore[method-assign]
    _, events = train(network, config(epochs=2.5, schedule="linear", optimizer={"head_learning_rate": 1e-2}))
    for step, at in enumerate(rates):
        assert sorted(set(at)) == pytest.approx([5e-3 * (1 - step / 10), 1e-2 * (1 - step / 10)])
    assert events[-2]["learning_rate"] == rates[-1][0]
    assert events[-2]["step"] == 10


class Counting:
    """Progress that notes what it is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int | None, list[int]]] = []

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        advanced: list[int] = []
        self.tasks.append((description, total, advanced))
        yield advanced.append


def fit(folders: Path, options: dict[str, Any], **parts: Any) -> tuple[Any, Any, Network, list[dict[str, Any]]]:
    network, events = network_of("score", folders), []
    trainer = Trainer(network, config(**options), 0, parts.pop("progress", SilentProgress()), events.append, **parts)
    done, selection = trainer.fit(rows(32), rows(24, 1), 3)
    return done, selection, network, events


def test_progress_counts_every_step_once_also_where_training_goes_on(folders: Path, tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    fit(folders, {"epochs": 1.0}, progress=first, checkpoints=Checkpoints(tmp_path / "c", 0.0, lambda _: None))
    told = [task for task in first.tasks if task[0] == "train"]
    assert told == [("train", 4, [0, 1, 1, 1, 1])]
    done, *_ = fit(
        folders, {"epochs": 2.0}, progress=second, checkpoints=Checkpoints(tmp_path / "c", 0.0, lambda _: None)
    )
    assert done.resumed_after == [4]
    assert [task for task in second.tasks if task[0] == "train"] == []


class Kept(Checkpoints):
    """Checkpoints that note after which steps they are written."""

    def __init__(self, folder: Path, due: bool) -> None:
        super().__init__(folder, 0.0 if due else 1e9, lambda _: None)
        self.steps: list[int] = []

    def save(self, snapshot: Any) -> None:
        self.steps.append(snapshot.step)
        super().save(snapshot)


def test_checkpoints_are_written_when_due_and_at_the_end_where_there_is_one(folders: Path, tmp_path: Path) -> None:
    due, never = Kept(tmp_path / "due", True), Kept(tmp_path / "never", False)
    fit(folders, {"epochs": 1.0}, checkpoints=due)
    fit(folders, {"epochs": 1.0}, checkpoints=never)
    assert due.steps == [1, 2, 3, 4]
    assert never.steps == []


def test_going_on_is_told_with_its_step(folders: Path, tmp_path: Path) -> None:
    fit(folders, {"epochs": 1.0}, checkpoints=Checkpoints(tmp_path / "c", 0.0, lambda _: None))
    *_, events = fit(folders, {"epochs": 1.0}, checkpoints=Checkpoints(tmp_path / "c", 0.0, lambda _: None))
    assert events == [{"event": "note", "message": "training goes on after step 4"}]


def test_time_in_steps_is_counted_and_the_first_steps_apart(folders: Path) -> None:
    began, began_cpu = time.perf_counter(), time.process_time()
    done, *_ = fit(folders, {"epochs": 1.0})
    assert 0 < done.training_seconds < time.perf_counter() - began
    assert 0 < done.training_cpu_seconds < time.process_time() - began_cpu
    assert done.warm_rows == 24
    assert 0 < done.warm_seconds < done.training_seconds
    short, *_ = fit(folders, {"epochs": 0.75})
    assert (short.steps, short.warm_rows, short.warm_seconds) == (3, 0, 0.0)


def test_a_limit_that_is_not_reached_ends_nothing(folders: Path) -> None:
    done, *_ = fit(folders, {"epochs": 1.0}, max_seconds=1e9)
    assert (done.stopped, done.steps) == ("epochs", 4)


def test_of_two_reasons_to_stop_the_aim_comes_before_the_clock_and_the_clock_before_patience(folders: Path) -> None:
    reached = {"evaluation": {"target_accuracy": 1e-9}}
    assert fit(folders, {"epochs": 9.0, **reached}, max_seconds=1e-9)[0].stopped == "target_accuracy"
    late = {"evaluation": {"patience": 1, "every_steps": 1}, "learning_rate": 1e-12}
    done, *_ = fit(folders, {"epochs": 9.0, **late})
    assert done.stopped == "patience"
    done, *_ = fit(folders, {"epochs": 9.0, **late}, max_seconds=1e-9)
    assert done.stopped == "max_seconds"


def test_it_ends_ready_to_predict_and_with_the_kept_logits(folders: Path) -> None:
    done, selection, network, _ = fit(folders, {"epochs": 1.0})
    assert not any(part.training for module in network.modules for part in module.modules())
    assert (done.best_step, done.best_macro_f1) == (selection.step, selection.macro_f1)
    assert selection.logits.shape == (24, 3)


def test_several_tasks_hand_over_no_logits_and_name_themselves(folders: Path) -> None:
    tasks = tasks_of(folders, (32, 16))
    network, events = joined([task.network for task in tasks]), []
    _, selection = Trainer(network, config(epochs=4.0), 0, SilentProgress(), events.append).fit_tasks(tasks)
    assert selection.logits.shape == (0, 0)
    steps = [event for event in events if event["event"] == "step"]
    assert {event["task"] for event in steps} <= {"task0", "task1"}
    assert len(steps) == 3
    evaluations = [event for event in events if event["event"] == "evaluation"]
    for name in ("loss", "accuracy", "macro_f1"):
        assert evaluations[0][name] == pytest.approx(sum(task[name] for task in evaluations[0]["tasks"].values()) / 2)


def test_tasks_are_mixed_by_their_sizes_where_nothing_else_is_said(folders: Path) -> None:
    found = []
    for temperature in ({}, {"temperature": 1.0}, {"temperature": 2.0}):
        tasks = tasks_of(folders, (64, 8))
        network = joined([task.network for task in tasks])
        Trainer(network, config(epochs=1.0), 0, SilentProgress(), lambda _: None).fit_tasks(tasks, **temperature)
        found.append(weights(network))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_several_labels_are_balanced_too(folders: Path) -> None:
    data = rows(32)
    several = EncodedRows(data.encoded, np.eye(3, dtype=bool)[data.targets])
    found = []
    for options in ({}, {"class_weight": "balanced"}):
        network = network_of("score", folders)
        trainer = Trainer(network, config(epochs=1.0, **options), 0, SilentProgress(), lambda _: None)
        done, _ = trainer.fit(several, several, 3)
        assert done.steps == 4
        found.append(weights(network))
    assert not same(found[0], found[1])


@pytest.mark.parametrize("average", ["none", "ema"])
def test_a_float16_step_that_overflows_is_left_out_by_all(
    average: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "gradient_scaler", lambda _: torch.amp.GradScaler("cpu", init_scale=2.0**10))
    network = network_of("score", folders)
    network.precision = "float16"
    assert isinstance(network.head, ScoreHead)
    turns = iter([math.inf])
    network.head.linear.weight.register_hook(lambda gradient: gradient * next(turns, 1.0))
    told: list[int] = []
    network.after_step = told.append  # type: ignore[method-assign]
    options = {"evaluation": {"every_steps": 1}, "optimizer": {"average": average}}
    done, events = train(network, config(epochs=1.0, **options))
    assert (done.steps, told) == (4, [2, 3, 4])
    losses = [event["loss"] for event in events if event["event"] == "evaluation"]
    fresh = network_of("score", folders)
    fresh.precision = "float16"
    untrained = fresh.predict_logits(rows(24, 1).encoded, 3)
    assert losses[0] == pytest.approx(
        float(cross_entropy(torch.from_numpy(untrained), torch.from_numpy(rows(24, 1).targets))), rel=1e-3
    )
    assert losses[1] != losses[0]
    assert all(map(math.isfinite, losses))


def test_overflow_is_borne_down_to_a_scale_of_one(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "gradient_scaler", lambda _: torch.amp.GradScaler("cpu", init_scale=4.0))
    network = network_of("score", folders)
    network.precision = "float16"
    assert isinstance(network.head, ScoreHead)
    steps: list[int] = []
    network.head.linear.weight.register_hook(lambda gradient: steps.append(1) or gradient * math.inf)
    with pytest.raises(WorkError, match="gradient norm"):
        train(network, config(epochs=5.0))
    assert len(steps) == 4  # at 4, 2, 1, and no more at 1/2


def test_a_float32_gradient_that_is_no_number_stops_it_at_once(folders: Path) -> None:
    network = network_of("score", folders)
    assert isinstance(network.head, ScoreHead)
    network.head.linear.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(WorkError, match=r"the loss is \d.* and the gradient norm nan"):
        train(network, config())


def test_rows_that_are_looked_at_are_drawn_by_their_stream_in_their_order() -> None:
    data = rows(40)
    assert checked_rows(data, config(validation_rows=40), 0) is data
    at = np.sort(stream_generator(3, "sample").permutation(40)[:7])
    chosen = checked_rows(data, config(validation_rows=7), 3)
    assert chosen.encoded == [data.encoded[i] for i in at]
    assert chosen.targets.tolist() == data.targets[at].tolist()
