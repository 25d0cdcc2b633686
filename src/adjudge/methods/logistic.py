"""Logistic regression on fixed features: what `tfidf` and other frozen features share."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from adjudge.core.errors import DataError
from adjudge.evaluate.metrics import macro_f1
from adjudge.evaluate.sets import set_macro_f1
from adjudge.evaluate.thresholds import best_thresholds
from adjudge.methods.method import Setting
from adjudge.methods.targets import Targets
from adjudge.models.classifiers.linear import Linear

ClassWeight = Literal["balanced"] | None
_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class FeatureRows:
    """Features ``[N, F]`` (a NumPy array or a SciPy CSR matrix) and their `Targets`."""

    features: Any
    targets: Targets


@dataclass(frozen=True)
class Chosen:
    """A fitted layer, the C it was fitted with, and validation macro-F1 by C (empty where C was given)."""

    linear: Linear
    c: float
    macro_f1: dict[float, float]


def fit_logistic(
    rows: FeatureRows, n_labels: int, c: float, class_weight: ClassWeight = None, tol: float = 3e-4
) -> Linear:
    """Fit multinomial logistic regression with an L2 penalty of 1 / (2 C) on the weights (scikit-learn, L-BFGS).

    Of a multi-label task one regression for each label against the rest (`fit_one_vs_rest`).

    The scores of the labels that occur sum to 0, so their greatest is at least 0. A label without a row gets zero
    weights and a score of ``-ln(N + 1)``: it is never chosen and its log loss is finite.

    Args:
        rows: at least one row.
        n_labels: C, the size of the label set.
        c: inverse strength of the penalty, above 0.
        class_weight: ``balanced`` weighs each label by the inverse of its share.
        tol: the solver stops when no partial derivative is greater.

    Returns:
        weights ``[C, F]`` and bias ``[C]``, float32.
    """
    if rows.targets.ndim == 2:
        return fit_one_vs_rest(rows, c, class_weight, tol)
    weights = np.zeros((n_labels, rows.features.shape[1]), dtype=np.float32)
    bias = np.full(n_labels, -np.log(len(rows.targets) + 1), dtype=np.float32)
    present = np.unique(rows.targets)
    if len(present) < 2:
        bias[present] = 0
        return Linear(weights, bias)
    model = _regression(rows.features, rows.targets, c, class_weight, tol)
    if len(present) == 2:  # one row of coefficients, the log-odds of the second label: shared out evenly
        weights[present] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[present] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weights[present] = model.coef_
        bias[present] = model.intercept_
    return Linear(weights, bias)


def fit_one_vs_rest(rows: FeatureRows, c: float, class_weight: ClassWeight = None, tol: float = 3e-4) -> Linear:
    """Fit binary logistic regression for each label of a multi-label task; sigmoids of the scores are probabilities.

    A label that no row has, or every row, gets zero weights and the score ``±ln(N + 1)``.

    Args:
        rows: at least one, with targets ``[N, C]``; otherwise as `fit_logistic`.
        c: as `fit_logistic`.
        class_weight: ``balanced`` weighs the rows with a label as much as those without.
        tol: as `fit_logistic`.
    """
    n_rows, n_labels = rows.targets.shape
    weights = np.zeros((n_labels, rows.features.shape[1]), dtype=np.float32)
    bias = np.zeros(n_labels, dtype=np.float32)
    for label in range(n_labels):
        held = rows.targets[:, label]
        if held.all() or not held.any():
            bias[label] = np.log(n_rows + 1) * (1 if held.all() else -1)
            continue
        model = _regression(rows.features, held.astype(np.int64), c, class_weight, tol)
        weights[label], bias[label] = model.coef_[0], model.intercept_[0]
    return Linear(weights, bias)


def _regression(features: Any, targets: Targets, c: float, class_weight: ClassWeight, tol: float) -> Any:
    model = LogisticRegression(C=c, class_weight=class_weight, tol=tol, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        # Almost separable rows go on forever with a great C; the last step is as good as any near it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, targets)
    return model


def validation_macro_f1(logits: npt.NDArray[np.float32], targets: Targets) -> float:
    """Macro-F1 of scores ``[N, C]``; of a multi-label task at the thresholds that suit these rows best."""
    if targets.ndim == 2:
        probs = expit(logits.astype(np.float64))
        held = targets.astype(np.bool_)
        return set_macro_f1(held, probs >= np.array(best_thresholds(probs, held)))
    return macro_f1(targets.astype(np.int64, copy=False), logits.argmax(axis=1), logits.shape[1])


def choose_c(
    train: FeatureRows, validation: FeatureRows, grid: tuple[float, ...], class_weight: ClassWeight, setting: Setting
) -> Chosen:
    """Fit to train for each C of the grid and keep the one with the best validation macro-F1; of equals the smallest.

    Stops early, with the best so far, when `Setting.max_seconds` have passed.

    Raises:
        DataError: validation has no rows.
    """
    if not len(validation.targets):
        raise DataError("validation has no rows, so C cannot be chosen; give the method's option `c`, or add rows")
    n_labels = len(setting.labels)
    began = time.monotonic()
    best: Linear | None = None
    scores: dict[float, float] = {}
    with setting.progress.task("choose C", len(grid)) as advance:
        for c in sorted(grid):
            if best is not None and setting.max_seconds is not None and time.monotonic() - began > setting.max_seconds:
                break
            linear = fit_logistic(train, n_labels, c, class_weight)
            score = validation_macro_f1(linear.logits(validation.features), validation.targets)
            if best is None or score > max(scores.values()):
                best = linear
            scores[c] = score
            setting.log({"event": "note", "message": f"C {c:g}: validation macro-F1 {score:.4f}"})
            advance(1)
    if best is None:
        raise ValueError("the grid of C is empty")
    return Chosen(best, max(scores, key=lambda c: (scores[c], -c)), scores)
