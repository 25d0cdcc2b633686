"""The loss of rows with several labels, against PyTorch's and through the loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from adjudge.core.protocols import SilentProgress
from adjudge.train.batches import EncodedRows
from adjudge.train.loop import Trainer
from adjudge.train.set_loss import SetLoss, positive_weights
from adjudge.train.training_config import LossConfig, TrainingConfig
from tests.train.builders import config, network_of, rows, same, weights

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 4.0, 0.0], [60.0, -70.0, 1.0]])
TARGETS = torch.tensor([[True, False, True], [False, False, False], [True, True, False]])
WEIGHTS = torch.tensor([0.5, 2.0, 3.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("positive", [None, WEIGHTS])
@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_the_mean_over_rows_is_pytorchs(kind: str, positive: torch.Tensor | None, smoothing: float) -> None:
    """Focal loss with gamma 0 is cross entropy."""
    loss = SetLoss(LossConfig.model_validate({"kind": kind, "gamma": 0.0, "label_smoothing": smoothing}), positive)
    held = TARGETS.float() * (1 - smoothing) + smoothing / 2
    expected = binary_cross_entropy_with_logits(LOGITS, held, pos_weight=positive)
    found = loss(LOGITS, TARGETS).sum() / loss.weights(TARGETS).sum()
    torch.testing.assert_close(found, expected)


def test_focal_loss_weighs_a_decision_by_how_wrong_it_is() -> None:
    logits = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = SetLoss(LossConfig(kind="focal", gamma=2.0))(logits, torch.tensor([[True, False]]))
    p = torch.sigmoid(logits.detach())
    expected = (-((1 - p[0, 0]) ** 2) * p[0, 0].log() - p[0, 1] ** 2 * (1 - p[0, 1]).log()) / 2
    torch.testing.assert_close(loss[0], expected)
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_r_drop_adds_the_divergence_of_each_labels_two_outcomes() -> None:
    first, second = LOGITS[:2], LOGITS[:2] + torch.tensor([0.5, -0.25, 1.0])
    loss, targets = SetLoss(LossConfig(r_drop=0.7)), TARGETS[:2]
    p, q = first.sigmoid(), second.sigmoid()
    kl = [a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log() for a, b in ((p, q), (q, p))]
    expected = (loss(first, targets) + loss(second, targets)) / 2 + 0.7 * ((kl[0] + kl[1]) / 2).mean(dim=1)
    torch.testing.assert_close(loss.of_two(first, second, targets), expected)


def test_positive_weights_balance_each_label() -> None:
    targets = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1]], dtype=bool)
    assert positive_weights(targets).tolist() == [3.0, 1.0, 1.0, 1.0]


def test_validation_is_scored_at_its_best_thresholds() -> None:
    targets = np.array([[True, False], [False, True], [False, False]])
    logits = np.array([[-1.0, -3.0], [-2.0, -2.0], [-2.5, -4.0]], dtype=np.float32)
    found = SetLoss(LossConfig()).score(logits, targets)
    assert (found.accuracy, found.macro_f1) == (1.0, 1.0)
    expected = binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(targets).float())
    assert found.loss == pytest.approx(float(expected))


def of_sets(found: EncodedRows) -> EncodedRows:
    """Rows with the label of their token, and one more where the row is long."""
    targets = np.eye(3, dtype=bool)[found.targets]
    targets[[len(row.text_ids) > 5 for row in found.encoded], 0] = True
    return replace(found, targets=targets)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


def trained(folders: Path, options: TrainingConfig) -> tuple[float, dict[str, torch.Tensor]]:
    network = network_of("score", folders)
    trainer = Trainer(network, options, 0, SilentProgress(), lambda _: None)
    done, selection = trainer.fit(of_sets(rows(48)), of_sets(rows(24, 1)), 3)
    assert selection.logits.shape == (24, 3)
    return done.best_macro_f1, weights(network)


def test_sets_of_labels_are_learned(folders: Path) -> None:
    score, _ = trained(folders, config(epochs=8.0, learning_rate=2e-2, class_weight="balanced"))
    assert score > 0.8


def test_a_batch_in_parts_and_the_same_seed_give_the_same_weights(folders: Path) -> None:
    options = {"epochs": 1.0, "loss": {"label_smoothing": 0.1}}
    whole, again, parts = (trained(folders, config(**options, **more))[1] for more in ({}, {}, {"accumulation": 4}))
    assert same(whole, again)
    for name, found in parts.items():
        torch.testing.assert_close(found, whole[name], rtol=1e-3, atol=1e-4)
