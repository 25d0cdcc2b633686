"""Losses against PyTorch's and against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from adjudge.train.losses import RowLoss, class_weights, divergence, focal
from adjudge.train.training_config import LossConfig

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [0.0, 0.0, 0.0], [-4.0, 9.0, 1.0]])
TARGETS = torch.tensor([0, 1, 2, 1])
WEIGHTS = torch.tensor([0.5, 2.0, 1.25])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_sums_over_weights_are_pytorchs_mean(kind: str, weights: torch.Tensor | None, smoothing: float) -> None:
    """Focal loss with gamma 0 is cross entropy."""
    loss = RowLoss(LossConfig.model_validate({"kind": kind, "gamma": 0.0, "label_smoothing": smoothing}), weights)
    found = loss(LOGITS, TARGETS).sum() / loss.weights(TARGETS).sum()
    torch.testing.assert_close(found, cross_entropy(LOGITS, TARGETS, weight=weights, label_smoothing=smoothing))


def test_focal_by_hand() -> None:
    """A row at probability 1/3 with gamma 2: (2/3)^2 * ln 3."""
    found = focal(torch.zeros(1, 3), torch.tensor([1]), gamma=2.0)
    assert found.item() == pytest.approx((2 / 3) ** 2 * math.log(3))
    weighted = focal(torch.zeros(1, 3), torch.tensor([1]), gamma=2.0, class_weights=WEIGHTS)
    assert weighted.item() == pytest.approx(2 * (2 / 3) ** 2 * math.log(3))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_a_gradient_where_a_row_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), gamma=gamma).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_divergence_by_hand() -> None:
    """Of (1/2, 1/2) and (3/4, 1/4): the mean of both directions is ln(3) / 8."""
    even, uneven = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    assert divergence(even, uneven).item() == pytest.approx(math.log(3) / 8, rel=1e-5)
    assert divergence(even, uneven).item() == pytest.approx(divergence(uneven, even).item())
    assert divergence(LOGITS, LOGITS).tolist() == pytest.approx([0] * 4)


def test_r_drop_of_two_equal_passes_is_the_loss_and_else_adds_the_weighted_divergence() -> None:
    loss = RowLoss(LossConfig(r_drop=3.0), WEIGHTS)
    torch.testing.assert_close(loss.of_two(LOGITS, LOGITS, TARGETS), loss(LOGITS, TARGETS))
    other = LOGITS.flip(0)
    expected = (loss(LOGITS, TARGETS) + loss(other, TARGETS)) / 2 + 3 * WEIGHTS[TARGETS] * divergence(LOGITS, other)
    torch.testing.assert_close(loss.of_two(LOGITS, other, TARGETS), expected)


def test_class_weights_are_scikit_learns() -> None:
    targets = np.array([0] * 7 + [1] * 2 + [3])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=targets)
    found = class_weights(targets, 4).numpy()
    np.testing.assert_allclose(found[[0, 1, 3]], expected, rtol=1e-6)
    assert found[2] == 0
    assert found[targets].mean() == pytest.approx(1)
