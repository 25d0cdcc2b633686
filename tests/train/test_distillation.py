"""The loss of a student, against hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch.nn.functional import binary_cross_entropy_with_logits

from adjudge.train.distillation import SoftTargets
from adjudge.train.losses import RowLoss
from adjudge.train.training_config import LossConfig

TEACHER = np.array([[2.0, 0.0], [0.0, 4.0], [1.0, 1.0]], dtype=np.float32)


def test_a_divergence_by_hand() -> None:
    """Teacher odds e^(2/2) : 1, student even: T^2 times the sum of p log(p / q)."""
    soft = SoftTargets(TEACHER, 2.0, np.zeros(3, dtype=np.float32))
    p = np.e / (1 + np.e)
    expected = 4 * (p * np.log(p / 0.5) + (1 - p) * np.log((1 - p) / 0.5))
    found = soft.mixed([0], torch.zeros(1, 2), torch.tensor([9.0]), torch.ones(1))
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_a_student_that_agrees_has_no_loss_and_labels_take_their_share() -> None:
    soft = SoftTargets(TEACHER, 3.0, np.array([0.0, 0.25, 1.0], dtype=np.float32))
    student = torch.from_numpy(TEACHER) + 7.0  # a constant changes no distribution
    found = soft.mixed([0, 1, 2], student, torch.tensor([8.0, 8.0, 8.0]), torch.ones(3))
    torch.testing.assert_close(found, torch.tensor([0.0, 2.0, 8.0]), atol=1e-5, rtol=0)


def test_the_gradient_pulls_towards_the_teacher() -> None:
    """Of T^2 KL with respect to the student's logits: T (q - p)."""
    soft = SoftTargets(TEACHER, 2.0, np.zeros(3, dtype=np.float32))
    student = torch.zeros(1, 2, requires_grad=True)
    soft.mixed([0], student, torch.zeros(1), torch.ones(1)).sum().backward()
    p = np.e / (1 + np.e)
    np.testing.assert_allclose(student.grad, [[2 * (0.5 - p), 2 * (p - 0.5)]], atol=1e-6)


def test_several_labels_are_a_divergence_for_each_by_hand() -> None:
    """The mean over labels of p log(p / q) + (1 - p) log((1 - p) / (1 - q)), both sides at logit / T."""
    soft = SoftTargets(TEACHER, 2.0, np.array([0.0, 0.5, 1.0], dtype=np.float32), several=True)
    p, q = expit(TEACHER / 2), expit(np.array([0.6, -0.4]) / 2)
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    student = torch.tensor([[0.6, -0.4]] * 3)
    found = soft.mixed([0, 1, 2], student, torch.full((3,), 8.0), torch.ones(3))
    expected = 4 * each.mean(axis=1) * [1.0, 0.5, 0.0] + [0.0, 4.0, 8.0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_several_labels_pull_as_binary_cross_entropy_with_the_teachers_probabilities() -> None:
    soft = SoftTargets(TEACHER, 1.0, np.zeros(3, dtype=np.float32), several=True)
    gradients = []
    for learn in (
        lambda logits: soft.mixed([0, 1, 2], logits, torch.zeros(3), torch.ones(3)),
        lambda logits: binary_cross_entropy_with_logits(
            logits, torch.from_numpy(TEACHER).sigmoid(), reduction="none"
        ).mean(dim=-1),
    ):
        student = torch.tensor([[0.3, -0.4]] * 3, requires_grad=True)
        learn(student).sum().backward()
        gradients.append(student.grad)
    torch.testing.assert_close(*gradients)


def test_a_row_counts_by_its_weight_whichever_it_learns_from() -> None:
    """A batch of one row is that row's mean, so its loss does not depend on its weight."""
    soft = SoftTargets(TEACHER, 2.0, np.full(3, 0.25, dtype=np.float32))
    targets, student = torch.tensor([0]), torch.tensor([[0.3, -0.4]])
    found = []
    for classes in (None, torch.tensor([3.0, 1.0])):
        loss = RowLoss(LossConfig(), classes)
        weights = loss.weights(targets)
        found.append(float(soft.mixed([1], student, loss(student, targets), weights) / weights))
    assert found[0] == pytest.approx(found[1])
