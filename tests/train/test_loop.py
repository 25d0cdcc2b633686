"""The training loop: what is kept, when it ends, and what it leaves alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from adjudge.core.errors import DataError, WorkError
from adjudge.core.protocols import SilentProgress
from adjudge.core.seeds import stream_generator
from adjudge.core.types import Encoded
from adjudge.models.adapters import add_lora, linear_layers
from adjudge.models.engine import Engine
from adjudge.models.heads import Head, LabelHead, ScoreHead
from adjudge.models.loading import load_pretrained
from adjudge.models.network import Network
from adjudge.models.seeding import seeded_torch
from adjudge.prompts.trie import build_trie
from adjudge.train import loop
from adjudge.train.config import TrainingConfig
from adjudge.train.loop import Rows, Trained, Trainer, batches, build_optimizer, class_weights
from tests.tiny_models import tiny_model

EVENT = {"event", "seconds"}
STEP = {"event", "step", "epoch", "rows_seen", "loss", "learning_rate"}
EVALUATION = {"event", "step", "epoch", "rows_seen", "loss", "accuracy", "macro_f1"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


def network_of(kind: str, folders: Path, *, dropout: float = 0.0) -> Network:
    """``score`` and ``label``: Llama with LoRA; ``full``: BERT, all weights."""
    architecture = "bert" if kind == "full" else "llama"
    folder = folders / architecture
    pretrained = load_pretrained(str(folder if folder.is_dir() else tiny_model(architecture, folder)))
    head: Head
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "label":
            assert pretrained.output_rows is not None
            trie = build_trie([(70, 71), (70, 72), (80,)], 2)
            head = LabelHead(pretrained.output_rows[list(trie.token_ids)], trie)
        else:
            head = ScoreHead(32, 3, pooling="mean" if kind == "full" else "last", dropout=dropout)
        if kind != "full":
            add_lora(
                pretrained.trunk,
                rank=4,
                alpha=8,
                dropout=dropout,
                targets=linear_layers(pretrained.trunk, "all"),
            )
    return Network(Engine(pretrained.trunk, causal=kind != "full"), head, (5, 6, 7))


def rows(n: int, seed: int = 0) -> Rows:
    """A row's class is which of three tokens it holds among others."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 3, n)
    encoded = []
    for target in targets:
        ids = generator.integers(100, 200, generator.integers(2, 8)).tolist()
        ids[int(generator.integers(len(ids)))] = 40 + int(target)
        encoded.append(Encoded(tuple(ids), (8, 9), len(ids)))
    return Rows(encoded, targets)


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(**{"learning_rate": 5e-3, "epochs": 2.0, "batch_size": 8, "warmup": 0.0, **options})


def train(
    network: Network, options: TrainingConfig, *, seed: int = 0, n: int = 32, max_seconds: float | None = None
) -> tuple[Trained, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    trainer = Trainer(network, options, seed, SilentProgress(), events.append, max_seconds=max_seconds)
    return trainer.fit(rows(n), rows(24, 1), 3), events


def weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.trainable().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


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


def test_same_seed_gives_the_same_weights_and_each_stream_its_own() -> None:
    order = [list(batches(10, 4, 6, seed)) for seed in (0, 0, 1)]
    assert order[0] == order[1] != order[2]


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
                patch.setattr(loop, "stream_generator", lambda seed, name: stream_generator(seed + 1, name))
            if moved and stream == "dropout":
                patch.setattr(loop, "seeded_torch", lambda seed, name: seeded_torch(seed + 1, name))
            network = network_of("score", folders, dropout=0.2)
            train(network, config(epochs=1.0))
            found.append(weights(network))
    assert not same(found[0], found[1])


def test_every_epoch_sees_each_row_once_in_a_new_order() -> None:
    steps = list(batches(10, 4, 6, 0))
    assert [len(batch) for batch in steps] == [4, 4, 2, 4, 4, 2]
    first, second = ([i for batch in epoch for i in batch] for epoch in (steps[:3], steps[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


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
    evaluate = Trainer._evaluate

    def spying(self: Trainer, *args: Any) -> None:
        evaluate(self, *args)
        seen.append(weights(self.network))

    monkeypatch.setattr(Trainer, "_evaluate", spying)
    monkeypatch.setattr(loop, "macro_f1", Scripted([0.2, 0.6, 0.5, 0.1]))
    done, _ = train(network, options)
    assert (done.steps, done.best_step, done.best_macro_f1, done.stopped) == (16, 8, 0.6, "epochs")
    assert same(weights(network), seen[1])
    assert not same(weights(network), seen[3])


def test_patience_ends_it(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "macro_f1", Scripted([0.5, 0.4, 0.6, 0.5, 0.1, 0.9]))
    done, events = train(
        network_of("score", folders), config(epochs=9.0, evaluations_per_epoch=1, patience=2, schedule="constant")
    )
    assert (done.stopped, done.best_step, done.steps) == ("patience", 12, 20)
    assert sum(event["event"] == "evaluation" for event in events) == 5


def test_of_equal_scores_the_lower_loss_is_kept(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "macro_f1", Scripted([0.6] * 6))
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


def test_class_weights_are_scikit_learns() -> None:
    targets = np.array([0] * 7 + [1] * 2 + [3])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=targets)
    found = class_weights(targets, 4).numpy()
    np.testing.assert_allclose(found[[0, 1, 3]], expected, rtol=1e-6)
    assert found[2] == 0
    assert found[targets].mean() == pytest.approx(1)


def test_class_weights_reach_the_loss(folders: Path) -> None:
    first, second = network_of("score", folders), network_of("score", folders)
    train(first, config(epochs=1.0))
    train(second, config(epochs=1.0, class_weight="balanced"))
    assert not same(weights(first), weights(second))


def test_the_head_has_its_own_rate_and_vectors_do_not_decay(folders: Path) -> None:
    network = network_of("full", folders)
    optimizer = build_optimizer(network, config(learning_rate=1e-3, head_learning_rate=1e-2, weight_decay=0.1))
    described = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert len(described) == len(network.trainable())
    for name, parameter in network.trainable().items():
        rate = 1e-2 if name.startswith("head.") else 1e-3
        assert described[id(parameter)] == (rate, 0.1 if parameter.ndim > 1 else 0.0)


def test_validation_while_training_is_bounded_and_keeps_rows_and_targets_together(folders: Path) -> None:
    trainer = Trainer(network_of("score", folders), config(validation_rows=5), 0, SilentProgress(), lambda _: None)
    data = rows(40)
    chosen = trainer._validation_rows(data)
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
