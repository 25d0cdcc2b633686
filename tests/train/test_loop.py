"""The training loop: what is kept, when it ends, and what it leaves alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from adjudge.core.errors import DataError, WorkError
from adjudge.core.protocols import SilentProgress
from adjudge.core.seeds import stream_generator
from adjudge.models.engine.heads import LabelHead, ScoreHead
from adjudge.models.engine.network import Network
from adjudge.models.trunk import lookup
from adjudge.models.trunk.seeding import seeded_torch
from adjudge.train import batches as batching
from adjudge.train import loop
from adjudge.train import losses as row_losses
from adjudge.train.loop import Trainer, checked_rows
from tests.train.builders import config, network_of, rows, same, train, weights

EVENT = {"event", "seconds"}
STEP = {"event", "step", "epoch", "rows_seen", "loss", "learning_rate"}
EVALUATION = {"event", "step", "epoch", "rows_seen", "loss", "accuracy", "macro_f1"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "rate"), [("score", 1e-2), ("label", 1e-2), ("full", 3e-3)])
def test_a_separable_task_is_learned(kind: str, rate: float, folders: Path) -> None:
    network = network_of(kind, folders)
    done, events = train(network, config(learning_rate=rate, epochs=30.0, batch_size=32, schedule="cosine"), n=256)
    losses = [event["loss"] for event in events if event["event"] == "step"]
    seen, unseen = (
        (network.predict_logits(part.encoded, 3).argmax(1) == part.targets).mean() for part in (rows(256), rows(64, 7))
    )
    assert losses[-1] < 0.05 < losses[0]
    assert done.best_macro_f1 == 1.0
    # What is kept is the first checkpoint with a perfect validation, not the last one.
    assert seen >= 0.95
    assert unseen >= 0.95


def test_same_seed_same_bytes_and_another_seed_others(folders: Path) -> None:
    found = []
    for seed in (0, 0, 1):
        network = network_of("score", folders, dropout=0.2)
        train(network, config(epochs=1.0), seed=seed)
        found.append(weights(network))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


@pytest.mark.parametrize("stream", ["order", "dropout"])
def test_each_stream_moves_the_weights_alone(stream: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for moved in (False, True):
        with monkeypatch.context() as patch:
            if moved and stream == "order":
                patch.setattr(batching, "stream_generator", lambda seed, name: stream_generator(seed + 1, name))
            if moved and stream == "dropout":
                patch.setattr(loop, "seeded_torch", lambda seed, name: seeded_torch(seed + 1, name))
            network = network_of("score", folders, dropout=0.2)
            train(network, config(epochs=1.0))
            found.append(weights(network))
    assert not same(found[0], found[1])


def test_the_callers_random_state_is_untouched(folders: Path) -> None:
    network = network_of("score", folders, dropout=0.5)
    torch.manual_seed(11)
    np.random.seed(11)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(network, config(epochs=1.0))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == before_numpy).all()


class Scripted:
    """Validation scores by turn, instead of real ones."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores
        self.turn = -1

    def __call__(self, *_: Any) -> float:
        self.turn += 1
        return self.scores[self.turn]


def test_the_best_validation_is_kept_and_not_the_last(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = config(epochs=4.0, evaluations_per_epoch=1, schedule="constant")
    seen: list[dict[str, torch.Tensor]] = []
    network = network_of("score", folders)
    scores = Scripted([0.2, 0.6, 0.5, 0.1])

    def spying(*_: Any) -> float:
        seen.append(weights(network))
        return scores()

    monkeypatch.setattr(row_losses, "macro_f1", spying)
    done, _ = train(network, options)
    assert (done.steps, done.best_step, done.best_macro_f1, done.stopped) == (16, 8, 0.6, "epochs")
    assert same(weights(network), seen[1])
    assert not same(weights(network), seen[3])


def test_patience_ends_it(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_losses, "macro_f1", Scripted([0.5, 0.4, 0.6, 0.5, 0.1, 0.9]))
    done, events = train(
        network_of("score", folders),
        config(epochs=9.0, evaluations_per_epoch=1, evaluation={"patience": 2}, schedule="constant"),
    )
    assert (done.stopped, done.best_step, done.steps) == ("patience", 12, 20)
    assert sum(event["event"] == "evaluation" for event in events) == 5


def test_of_equal_scores_the_lower_loss_is_kept(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_losses, "macro_f1", Scripted([0.6] * 6))
    done, events = train(network_of("score", folders), config(epochs=6.0, evaluations_per_epoch=1))
    losses = {event["step"]: event["loss"] for event in events if event["event"] == "evaluation"}
    assert done.best_step == min(losses, key=lambda step: losses[step])
    assert done.best_step != min(losses)


def test_the_time_budget_ends_it_with_a_validated_model(folders: Path) -> None:
    done, events = train(network_of("score", folders), config(epochs=50.0), max_seconds=1e-9)
    assert (done.stopped, done.steps, done.best_step) == ("max_seconds", 1, 1)
    assert [event["event"] for event in events] == ["evaluation"]


def test_part_of_an_epoch(folders: Path) -> None:
    done, events = train(network_of("score", folders), config(epochs=0.5))
    assert (done.steps, done.rows_seen) == (2, 16)
    assert events[-1]["epoch"] == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_it_and_says_what_to_do(bad: float, folders: Path) -> None:
    network = network_of("score", folders)
    assert isinstance(network.head, ScoreHead)
    network.head.linear.bias.data[0] = bad
    with pytest.raises(WorkError, match=r"the loss is nan .* lower learning_rate, or set precision: float32"):
        train(network, config())


def test_log_events_have_the_documented_fields(folders: Path) -> None:
    done, events = train(network_of("score", folders), config(epochs=5.0))
    steps = [event for event in events if event["event"] == "step"]
    evaluations = [event for event in events if event["event"] == "evaluation"]
    assert steps
    assert evaluations
    assert len(steps) + len(evaluations) == len(events)
    assert all(event.keys() | EVENT == STEP | EVENT for event in steps)
    assert all(event.keys() | EVENT == EVALUATION | EVENT for event in evaluations)
    assert [event["step"] for event in steps] == [10, 20]
    assert [event["step"] for event in evaluations] == list(range(2, 21, 2))
    assert steps[-1]["rows_seen"] == done.rows_seen == 160
    assert steps[0]["learning_rate"] == pytest.approx(5e-3 * (1 - 9 / 20))


def test_tokens_are_the_real_ones(folders: Path) -> None:
    network, data = network_of("score", folders), rows(32)
    done, _ = train(network, config(epochs=1.0))
    own = sum(len(row.text_ids) + len(row.suffix_ids) for row in data.encoded)
    assert done.tokens == own + 4 * len(network.prefix_ids)


@pytest.mark.parametrize("kind", ["score", "label", "full"])
def test_a_batch_is_the_mean_of_its_halves(kind: str, folders: Path) -> None:
    network, data = network_of(kind, folders), rows(32)
    network.train(False)
    found = []
    for part in (range(32), range(16), range(16, 32)):
        for parameter in network.trainable().values():
            parameter.grad = None
        logits = network.logits([data.encoded[i] for i in part])
        cross_entropy(logits, torch.from_numpy(data.targets[list(part)])).backward()
        found.append({name: p.grad.clone() for name, p in network.trainable().items()})
    for name, whole in found[0].items():
        torch.testing.assert_close((found[1][name] + found[2][name]) / 2, whole, rtol=1e-3, atol=1e-5)


def test_class_weights_reach_the_loss(folders: Path) -> None:
    first, second = network_of("score", folders), network_of("score", folders)
    train(first, config(epochs=1.0))
    train(second, config(epochs=1.0, class_weight="balanced"))
    assert not same(weights(first), weights(second))


def test_validation_while_training_is_bounded_and_keeps_rows_and_targets_together() -> None:
    data = rows(40)
    chosen = checked_rows(data, config(validation_rows=5), 0)
    assert len(chosen) == 5
    for encoded, target in zip(chosen.encoded, chosen.targets, strict=True):
        assert 40 + target in encoded.text_ids


@pytest.mark.parametrize(("n_train", "n_validation", "named"), [(0, 4, "train"), (4, 0, "validation")])
def test_no_rows_are_an_error(n_train: int, n_validation: int, named: str, folders: Path) -> None:
    trainer = Trainer(network_of("score", folders), config(), 0, SilentProgress(), lambda _: None)
    with pytest.raises(DataError, match=f"^{named} has no rows"):
        trainer.fit(rows(n_train), rows(n_validation), 3)


def test_frozen_weights_do_not_move(folders: Path) -> None:
    network = network_of("label", folders)
    before = {name: p.detach().clone() for name, p in network.engine.trunk.named_parameters() if not p.requires_grad}
    rows_before = network.head.rows.detach().clone() if isinstance(network.head, LabelHead) else None
    train(network, config(epochs=1.0))
    after = dict(network.engine.trunk.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert rows_before is not None
    assert torch.equal(network.head.rows, rows_before)


@pytest.mark.parametrize("kind", ["score", "label", "full"])
@pytest.mark.parametrize("options", [{}, {"class_weight": "balanced"}, {"loss": {"kind": "focal"}}])
def test_a_batch_run_in_parts_has_the_gradient_of_the_whole(kind: str, options: dict[str, Any], folders: Path) -> None:
    """Batches of 7 do not divide evenly and mix rare and common labels."""
    found = []
    for accumulation in (1, 2, 3):
        network = network_of(kind, folders)
        for module in network.engine.trunk.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        gradients: dict[str, torch.Tensor] = {}
        keep_gradients(network, gradients)
        given = config(epochs=0.2, batch_size=7, accumulation=accumulation, **options)
        _, events = train(network, given)
        found.append((gradients, [event["loss"] for event in events]))
    for gradients, losses in found[1:]:
        assert losses == pytest.approx(found[0][1], rel=1e-5)
        for name, whole in found[0][0].items():
            torch.testing.assert_close(gradients[name], whole, rtol=1e-3, atol=1e-6)


def keep_gradients(network: Network, into: dict[str, torch.Tensor]) -> None:
    """Fill a dictionary with the gradients of the last step."""

    def after_step(_: int) -> None:
        into.update({name: p.grad.clone() for name, p in network.trainable().items() if p.grad is not None})

    network.after_step = after_step  # type: ignore[method-assign]


def test_the_target_accuracy_ends_it_and_its_weights_are_kept(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if an earlier validation had a better macro-F1."""
    monkeypatch.setattr(row_losses, "accuracy", Scripted([0.5, 0.8, 0.9, 0.95]))
    monkeypatch.setattr(row_losses, "macro_f1", Scripted([0.5, 0.9, 0.7, 0.95]))
    evaluation = {"target_accuracy": 0.9, "every_steps": 3}
    done, events = train(network_of("score", folders), config(epochs=9.0, evaluation=evaluation))
    assert (done.stopped, done.steps, done.best_step, done.best_macro_f1) == ("target_accuracy", 9, 9, 0.7)
    assert [event["step"] for event in events if event["event"] == "evaluation"] == [3, 6, 9]
    assert done.facts()["target_accuracy_seconds"] == done.training_seconds


def test_the_rate_falls_to_its_floor(folders: Path) -> None:
    options = config(epochs=5.0, schedule="cosine", warmup=10, optimizer={"min_rate_share": 0.1})
    _, events = train(network_of("score", folders), options)
    rates = [event["learning_rate"] for event in events if event["event"] == "step"]
    assert rates[0] == pytest.approx(5e-3)
    cosine = 0.5 * (1 + math.cos(math.pi * 0.9))
    assert rates[1] == pytest.approx(5e-3 * (0.1 + 0.9 * cosine))


def test_r_drop_runs_every_row_twice_with_other_dropout(folders: Path) -> None:
    found = {}
    for weight in (0.0, 1.0, 100.0):
        network = network_of("score", folders, dropout=0.3)
        done, events = train(network, config(epochs=5.0, loss={"r_drop": weight}))
        found[weight] = (done.tokens, [event["loss"] for event in events if event["event"] == "step"])
    shared = done.steps * len(network.prefix_ids)  # both runs of a row stand behind one prefix
    assert found[1.0][0] == 2 * found[0.0][0] - shared
    assert found[100.0][1][0] > found[1.0][1][0]


def test_what_the_network_adds_to_the_loss_is_trained_on_whatever_the_parts(folders: Path) -> None:
    found = []
    for accumulation in (1, 4):
        network = network_of("score", folders)
        assert isinstance(network.head, ScoreHead)
        bias = network.head.linear.bias
        network.auxiliary_loss = lambda bias=bias: 3.0 * bias.sum()  # type: ignore[method-assign]
        gradients: dict[str, torch.Tensor] = {}
        keep_gradients(network, gradients)
        train(network, config(epochs=0.25, accumulation=accumulation, optimizer={"max_grad_norm": 1e9}))
        found.append(gradients["head.linear.bias"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-6)
    assert found[0].sum().item() == pytest.approx(9.0, abs=1e-4)  # the loss itself pushes all labels by 0 in sum


def test_after_step_is_told_the_number_of_steps(folders: Path) -> None:
    network, told = network_of("score", folders), []
    network.after_step = told.append  # type: ignore[method-assign]
    train(network, config(epochs=1.0))
    assert told == [1, 2, 3, 4]


def test_float16_trains_with_a_scaled_loss(folders: Path) -> None:
    network = network_of("score", folders)
    network.precision = "float16"
    done, events = train(network, config(epochs=5.0))
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert done.steps == 20
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["score", "full"])
def test_a_float16_gradient_that_overflows_costs_a_step_and_no_more(
    kind: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of the steps left out, and a gradient that is kept (of the token table) is clean again."""
    monkeypatch.setattr(loop, "gradient_scaler", lambda _: torch.amp.GradScaler("cpu", init_scale=2.0**60))
    network = network_of(kind, folders)
    network.precision = "float16"
    lookup.keep_gradients(network.engine.trunk)
    before = weights(network)
    told: list[int] = []
    network.after_step = told.append  # type: ignore[method-assign]
    options = {"evaluation": {"every_steps": 1}, "optimizer": {"average": "ema"}}
    done, events = train(network, config(epochs=20.0, **options))
    assert done.steps == 80
    assert 20 < told[0] < 60
    assert told[-1] == 80
    assert not same(before, weights(network))
    losses = [event["loss"] for event in events if event["event"] == "evaluation"]
    assert len(set(losses[: told[0] - 1])) == 1
    assert losses[-1] < losses[0]


def test_a_float16_gradient_that_always_overflows_stops_it(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "gradient_scaler", lambda _: torch.amp.GradScaler("cpu", init_scale=4.0))
    network = network_of("score", folders)
    network.precision = "float16"
    assert isinstance(network.head, ScoreHead)
    network.head.linear.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(WorkError, match=r"gradient norm (inf|nan)"):
        train(network, config(epochs=5.0))


def test_validation_logits_that_are_no_numbers_stop_it(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("score", folders)
    bad = np.full((24, 3), np.nan, dtype=np.float32)
    monkeypatch.setattr(Network, "predict_logits", lambda *_: bad)
    with pytest.raises(WorkError, match="validation logits after step 2 are not finite"):
        train(network, config(epochs=1.0))


def test_the_logits_of_the_kept_weights_are_handed_over(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_losses, "macro_f1", Scripted([0.2, 0.6, 0.5, 0.1]))
    network = network_of("score", folders, dropout=0.2)
    options = config(epochs=4.0, evaluations_per_epoch=1, optimizer={"average": "ema", "average_decay": 0.5})
    _, selection = Trainer(network, options, 0, SilentProgress(), lambda _: None).fit(rows(32), rows(24, 1), 3)
    np.testing.assert_array_equal(selection.logits, network.predict_logits(rows(24, 1).encoded, 3))
