import numpy as np
import pytest
from scipy.special import log_softmax

from adjudge.evaluate.calibration import (
    TEMPERATURE_RANGE,
    expected_calibration_error,
    fit_set_temperature,
    fit_temperature,
    reliability,
    softmax,
)


def sampled(temperature, n=20_000, n_classes=5, seed=0):
    """Logits, and gold labels drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (n, n_classes))
    uniform = generator.random((n, 1))
    return logits, (softmax(logits, temperature).cumsum(axis=1) < uniform).sum(axis=1).clip(max=n_classes - 1)


def test_softmax_hand_worked_and_stable():
    assert softmax(np.log([[1.0, 3.0]])) == pytest.approx(np.array([[0.25, 0.75]]))
    assert softmax(np.log([[1.0, 9.0]]), 2.0) == pytest.approx(np.array([[0.25, 0.75]]))
    extreme = softmax(np.array([[1e4, 0.0], [-1e4, -1e4]], dtype=np.float32))
    assert extreme.dtype == np.float64
    assert extreme == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5]]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_softmax_refuses_a_temperature_that_is_none(temperature):
    with pytest.raises(ValueError, match="positive finite"):
        softmax(np.zeros((1, 2)), temperature)


@pytest.mark.parametrize("planted", [0.3, 1.0, 4.0])
def test_fit_recovers_a_planted_temperature(planted):
    assert fit_temperature(*sampled(planted)) == pytest.approx(planted, rel=0.04)


def test_fit_is_the_minimum_of_the_likelihood():
    logits, gold = sampled(2.0, n=200)
    found = fit_temperature(logits, gold)

    def loss(temperature):
        return -log_softmax(logits / temperature, axis=1)[np.arange(len(gold)), gold].mean()

    grid = np.geomspace(*TEMPERATURE_RANGE, 2001)
    assert loss(found) <= min(map(loss, grid)) + 1e-12
    assert found == pytest.approx(grid[np.argmin([*map(loss, grid)])], rel=0.01)


def test_fitted_temperature_lowers_calibration_error_of_overconfident_scores():
    logits, gold = sampled(3.0)
    before, after = softmax(logits), softmax(logits, fit_temperature(logits, gold))
    correct = logits.argmax(axis=1) == gold
    assert expected_calibration_error(before.max(axis=1), correct) > 0.2
    assert expected_calibration_error(after.max(axis=1), correct) < 0.02


def test_fit_is_one_where_the_rows_do_not_determine_it():
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)) == 1.0
    assert fit_temperature(np.full((4, 3), 7.0), np.array([0, 1, 2, 0])) == 1.0
    assert fit_temperature(np.array([[0.1, 0.0], [0.0, 0.1]]), np.array([0, 1])) == 1.0


def test_fit_flattens_as_far_as_allowed_where_scores_are_worse_than_chance():
    found = fit_temperature(np.array([[5.0, 0.0], [0.0, 5.0]]), np.array([1, 0]))
    assert found == pytest.approx(20.0, rel=1e-3)
    assert TEMPERATURE_RANGE == (0.05, 20.0)


def test_fit_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="row 1 holds"):
        fit_temperature(np.array([[0.0, 1.0], [np.nan, 1.0]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="gold must lie in 0 to 1"):
        fit_temperature(np.zeros((1, 2)), np.array([2]))
    with pytest.raises(ValueError, match="gold must lie in 0 to 1"):
        fit_temperature(np.zeros((1, 2)), np.array([-1]))
    for logits in (np.zeros((2, 2)), np.zeros(1)):
        with pytest.raises(ValueError, match=r"expected logits \[N, C\]"):
            fit_temperature(logits, np.array([1]))


def test_expected_calibration_error_hand_worked():
    # Bins of width 0.5. Lower: 0.3 right, 0.5 wrong (closed on the right). Upper: 0.9 right, 0.8 right, 0.7 wrong.
    confidence = np.array([0.3, 0.5, 0.9, 0.8, 0.7])
    correct = np.array([True, False, True, True, False])
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(
        2 / 5 * abs(0.5 - 0.4) + 3 / 5 * abs(2 / 3 - 0.8)
    )


def test_bins_hold_both_ends_and_rounding_above_one():
    found = reliability(np.array([0.0, 1.0, 1.0000001]), np.array([False, True, True]), bins=10)
    assert found.count.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found.edges[[0, -1]].tolist() == [0.0, 1.0]
    assert found.to_json()["accuracy"][1] is None
    assert found.expected_error == pytest.approx(0.0, abs=1e-6)


def test_a_diagram_as_json_has_nothing_where_a_bin_is_empty():
    confidence, correct = np.array([0.3, 0.5, 0.9, 0.8, 0.7]), np.array([True, False, True, True, False])
    assert reliability(confidence, correct, bins=4).to_json() == {
        "edges": [0.0, 0.25, 0.5, 0.75, 1.0],
        "count": [0, 2, 1, 2],
        "confidence": [None, pytest.approx(0.4), 0.7, pytest.approx(0.85)],
        "accuracy": [None, 0.5, 0.0, 1.0],
    }
    assert len(reliability(confidence, correct).count) == 15
    assert reliability(confidence, correct, bins=1).count.tolist() == [5]


def test_reliability_refuses_what_it_cannot_bin():
    for confidence, correct, bins in [
        (np.zeros(0), np.zeros(0, dtype=bool), 15),
        (np.zeros((2, 2)), np.zeros((2, 2), dtype=bool), 15),
        (np.zeros(2), np.zeros(3, dtype=bool), 15),
        (np.zeros(2), np.zeros(2, dtype=bool), 0),
    ]:
        with pytest.raises(ValueError, match="at least 1"):
            reliability(confidence, correct, bins)


def test_the_temperature_of_several_labels_minimises_their_mean_loss():
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 1.5, (2000, 3))
    gold = generator.random((2000, 3)) < 1 / (1 + np.exp(-truth))
    logits = (truth * 2.5).astype(np.float32)
    found = fit_set_temperature(logits, gold)
    assert found == pytest.approx(2.5, rel=0.08)
    signs = np.where(gold, logits, -logits).astype(float)
    tried = np.linspace(0.5, 6, 400)
    losses = [np.logaddexp(0, -signs / temperature).mean() for temperature in tried]
    assert found == pytest.approx(tried[int(np.argmin(losses))], abs=0.02)


def test_where_every_sign_is_right_no_temperature_is_fitted():
    assert fit_set_temperature(np.array([[2.0, -1.0], [3.0, -2.0]]), np.array([[True, False]] * 2)) == 1.0
    assert fit_set_temperature(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool)) == 1.0
    with pytest.raises(ValueError, match="same shape"):
        fit_set_temperature(np.zeros((2, 2)), np.zeros((2, 3), dtype=bool))
    with pytest.raises(ValueError, match="finite"):
        fit_set_temperature(np.array([[np.nan]]), np.array([[True]]))
