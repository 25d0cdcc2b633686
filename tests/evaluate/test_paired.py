import math

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest

from adjudge.evaluate.metrics import NO_ANSWER, accuracy, macro_f1
from adjudge.evaluate.paired import (
    holm,
    mcnemar,
    minimum_detectable_difference,
    paired_difference,
    rows_needed,
    simultaneous_bounds,
)

SCORES = {"accuracy": lambda gold, predicted, _: accuracy(gold, predicted), "macro_f1": macro_f1}


def answers(gold, right, n_classes, seed):
    generator = np.random.default_rng(seed)
    return np.where(generator.random(gold.shape) < right, gold, generator.integers(0, n_classes, gold.shape))


def rows(n=500, n_classes=3, seed=0):
    return np.random.default_rng(seed).integers(0, n_classes, n)


def discordant(b, c, n):
    """Two runs with b rows only the first has right, c only the second, and the rest right in both."""
    first, second = np.ones(n, dtype=bool), np.ones(n, dtype=bool)
    second[:b] = False
    first[b : b + c] = False
    return first, second


def test_mcnemar_hand_worked():
    # 1 against 5 of 6 discordant rows: 2 * (1 + 6) / 2**6
    found = mcnemar(*discordant(5, 1, 40))
    assert (found.b, found.c, found.n) == (5, 1, 40)
    assert found.p_value == pytest.approx(2 * 7 / 64)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 3), (12, 30), (900, 1100)])
def test_mcnemar_is_the_binomial_test_and_symmetric(b, c):
    found = mcnemar(*discordant(b, c, 3000))
    assert found.p_value == pytest.approx(binomtest(b, b + c, 0.5).pvalue)
    assert found.p_value == pytest.approx(mcnemar(*discordant(c, b, 3000)).p_value)


def test_mcnemar_without_discordant_rows_says_nothing():
    assert mcnemar(*discordant(0, 0, 1)).p_value == 1.0


def test_mcnemar_refuses_runs_of_different_rows():
    with pytest.raises(ValueError, match="two arrays"):
        mcnemar(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_difference_is_that_of_the_means_over_seeds(metric):
    gold = rows()
    a = np.stack([answers(gold, 0.8, 3, seed) for seed in range(3)])
    b = np.stack([answers(gold, 0.6, 3, seed) for seed in range(10, 12)])
    found = paired_difference(gold, a, b, 3, metric=metric)
    score = SCORES[metric]
    expected = np.mean([score(gold, run, 3) for run in a]) - np.mean([score(gold, run, 3) for run in b])
    assert found.difference == pytest.approx(expected)
    assert found.low < found.lower_bound < found.difference < found.high


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_interval_of_many_rows_equals_naive_resampling(metric):
    gold = rows(3000)
    a, b = answers(gold, 0.8, 3, 1), answers(gold, 0.6, 3, 5)
    a[:20] = NO_ANSWER
    generator, score, naive = np.random.default_rng(1), SCORES[metric], []
    for _ in range(1500):
        drawn = generator.integers(0, len(gold), len(gold))
        naive.append(score(gold[drawn], a[drawn], 3) - score(gold[drawn], b[drawn], 3))
    found = paired_difference(gold, a, b, 3, metric=metric, resamples=20_000)
    # A 2.5% quantile of 1,500 normal draws has a standard error of 0.069 of their spread; the rest is the unseen row.
    tolerance = 0.31 * np.std(naive) + 2 / 3000
    assert (found.low, found.high) == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=tolerance)
    assert found.lower_bound == pytest.approx(np.quantile(naive, 0.05), abs=tolerance)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 50), (1, 0, 100), (5, 1, 40), (12, 30, 300)])
def test_the_p_value_of_single_runs_and_accuracy_is_that_of_mcnemar(b, c, n):
    first, second = (right.astype(np.int64) for right in discordant(b, c, n))
    found = paired_difference(np.ones(n, dtype=np.int64), first, second, 2, resamples=40_000)
    exact = mcnemar(*discordant(b, c, n)).p_value
    assert found.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact / 2 / 40_000) + 1e-4)


@pytest.mark.parametrize(("losses", "n"), [(0, 50), (1, 100), (4, 300)])
def test_the_lower_bound_without_a_gain_is_that_of_clopper_and_pearson(losses, n):
    """One principle for no loss and for few: of 100 rows with one loss and no gain at least -4.7 points are shown."""
    second, first = (right.astype(np.int64) for right in discordant(losses, 0, n))
    found = paired_difference(np.ones(n, dtype=np.int64), first, second, 2, resamples=40_000)
    assert found.lower_bound == pytest.approx(-beta.ppf(0.95, losses + 1, n - losses), abs=0.001)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_identical_predictions_differ_by_nothing_that_was_seen(metric):
    gold = rows(50)
    a = answers(gold, 0.7, 3, 1)
    found = paired_difference(gold, a, a, 3, metric=metric)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.low < found.lower_bound < 0 < found.high
    assert found.lower_bound == pytest.approx(0.05 ** (1 / 50) - 1, abs=0.03)


def test_two_rows_of_a_label_do_not_show_that_its_f1_is_kept():
    """A class of 2 rows of 2,000: where the worse method is lucky on both, 78 points of its recall stay possible."""
    gold = np.repeat(np.arange(6), [400, 400, 400, 400, 398, 2])
    worse = gold.copy()
    worse[:10] = 1
    found = paired_difference(gold, worse, gold, 6, metric="macro_f1")
    recall = 0.05**0.5
    assert found.lower_bound < -(1 - 2 * recall / (1 + recall)) / 6


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_planted_difference_is_found_in_both_directions(metric):
    gold = rows(1000)
    good, bad = answers(gold, 0.9, 3, 1), answers(gold, 0.7, 3, 2)
    found = paired_difference(gold, good, bad, 3, metric=metric)
    turned = paired_difference(gold, bad, good, 3, metric=metric)
    assert found.low > 0.08
    assert max(found.p_value, turned.p_value) <= 2 * 5 / 2001
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.high < -0.08
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=0.01)


def test_spread_between_seeds_widens_the_interval():
    """Seed spread larger than the gain: seeds far apart give a wider interval than one such run alone."""
    gold = rows(2000)
    reference = answers(gold, 0.8, 3, 0)
    seeds = np.stack([answers(gold, right, 3, seed) for seed, right in ((1, 0.65), (2, 0.8), (3, 0.95))])
    alone = paired_difference(gold, seeds[1], reference, 3)
    several = paired_difference(gold, seeds, reference, 3)
    assert several.high - several.low > 2 * (alone.high - alone.low)
    assert alone.p_value < 1.0
    assert several.p_value > 0.05


def test_pairing_narrows_the_interval():
    """Unpaired tests: two runs that fail on the same rows are told apart by rows they do not share."""
    gold = rows(1000)
    a = answers(gold, 0.6, 3, 1)
    b = a.copy()
    b[:30] = gold[:30]
    found = paired_difference(gold, b, a, 3)
    assert found.p_value < 0.01
    assert found.high - found.low < 0.02


def test_p_value_is_small_as_often_as_it_says_where_nothing_differs():
    small = 0
    for trial in range(200):
        gold = rows(200, seed=trial)
        a, b = (answers(gold, 0.7, 3, 1000 * side + trial) for side in (1, 2))
        small += paired_difference(gold, a, b, 3, resamples=300, seed=trial).p_value <= 0.05
    assert 0.01 < small / 200 < 0.11


def test_difference_is_reproducible_and_its_seed_matters():
    gold = rows()
    a, b = answers(gold, 0.8, 3, 1), answers(gold, 0.7, 3, 2)
    assert paired_difference(gold, a, b, 3, seed=1) == paired_difference(gold, a, b, 3, seed=1)
    assert paired_difference(gold, a, b, 3, seed=1) != paired_difference(gold, a, b, 3, seed=2)


def test_one_row_is_no_error_and_no_proof():
    found = paired_difference(np.array([1]), np.array([1]), np.array([0]), 2, metric="macro_f1")
    assert found.difference == 1.0
    assert found.low < 0


@pytest.mark.parametrize(
    ("gold", "a", "metric", "message"),
    [
        (np.array([0, 1]), np.array([0]), "accuracy", r"gold \[N\]"),
        (np.array([0, 2]), np.array([0, 1]), "accuracy", "labels must lie in 0 to 1"),
        (np.array([0, 1]), np.array([0, -2]), "accuracy", "labels must lie in 0 to 1"),
        (np.array([0, 1]), np.array([0, 1]), "bleu", "'accuracy', 'macro_f1' or 'mcc', got 'bleu'"),
    ],
)
def test_difference_refuses_input_that_does_not_fit(gold, a, metric, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(gold, a, np.array([0, 1]), 2, metric=metric)


def correlated(k, resamples, shared, seed=0):
    generator = np.random.default_rng(seed)
    common = generator.standard_normal(resamples)
    own = generator.standard_normal((k, resamples))
    return list(shared * common + np.sqrt(1 - shared**2) * own)


@pytest.mark.parametrize(("shared", "expected"), [(0.0, 2.565), (1.0, 1.645)])
def test_bounds_that_hold_together_lie_between_one_and_bonferroni(shared, expected):
    """Ten independent normal differences need the quantile of 1 - 0.95^(1/10) each, ten equal ones that of one."""
    bounds = simultaneous_bounds(correlated(10, 100_000, shared), -1.0)
    assert np.array(bounds.lower) == pytest.approx(-expected, abs=0.03)


def test_of_the_draws_five_in_a_hundred_lie_below_any_of_the_bounds():
    draws = correlated(7, 5000, 0.6)
    bounds = simultaneous_bounds(draws, 0.0)
    below = np.any([one < lower for one, lower in zip(draws, bounds.lower, strict=True)], axis=0)
    assert 0.045 < below.mean() <= 0.05
    assert bounds.level == pytest.approx(np.mean(draws[0] < bounds.lower[0]), abs=5e-4)


@pytest.mark.parametrize("threshold", [-3.0, -2.2, -1.7, -1.0, 0.0])
def test_an_adjusted_p_value_is_small_exactly_where_the_bound_lies_above_the_threshold(threshold):
    draws = [one + shift for one, shift in zip(correlated(6, 2000, 0.5), (0, 0.3, -0.2, 1, -1, 0.1), strict=True)]
    bounds = simultaneous_bounds(draws, threshold)
    assert [p <= 0.05 for p in bounds.p_values] == [lower > threshold for lower in bounds.lower]


def test_a_single_difference_has_its_own_quantile():
    draws = correlated(1, 2000, 0.0)
    bounds = simultaneous_bounds(draws, 0.0)
    assert bounds.lower[0] == pytest.approx(np.quantile(draws[0], 0.05), abs=0.01)
    assert min(simultaneous_bounds([np.ones(100)], 0.0).p_values) == pytest.approx(1 / 101)
    with pytest.raises(ValueError, match="at least one"):
        simultaneous_bounds([], 0.0)


def test_holm_hand_worked():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, made to rise: .04 .06 .06 .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match="0 to 1"):
        holm([0.1, float("nan")])


def test_rows_needed_hand_worked():
    # (1.959964 sqrt(.1) + 0.841621 sqrt(.1 - .0025))^2 / .0025 = (.619795 + .262796)^2 / .0025 = 311.6
    assert rows_needed(0.05, 0.1) == rows_needed(-0.05, 0.1) == 312
    assert rows_needed(0.05, 0.02) == rows_needed(0.05, 0.05)


@pytest.mark.parametrize(("b", "c", "n"), [(60, 40, 1000), (10, 10, 200), (400, 380, 2000)])
def test_minimum_detectable_difference_inverts_rows_needed(b, c, n):
    found = minimum_detectable_difference(*discordant(b, c, n))
    assert rows_needed(found * 1.0001, (b + c) / n) <= n < rows_needed(found * 0.99, (b + c) / n)


def test_detectable_difference_is_detected_with_the_power_promised():
    n, discordance = 1000, 0.1
    size = minimum_detectable_difference(*discordant(50, 50, n))
    generator = np.random.default_rng(0)
    shares = [(discordance + size) / 2, (discordance - size) / 2, 1 - discordance]
    b, c, _ = generator.multinomial(n, shares, size=4000).T
    found = 2 * binom.cdf(np.minimum(b, c), b + c, 0.5) <= 0.05
    # The exact test is a little weaker than the formula's normal approximation.
    assert 0.74 < found.mean() < 0.83


def test_rows_without_any_discordance_still_have_a_limit():
    found = minimum_detectable_difference(*discordant(0, 0, 1000))
    # With psi = d, formula (1) is n d = (z_alpha + z_power sqrt(1 - d))^2.
    assert 1000 * found == pytest.approx((1.959964 + 0.841621 * math.sqrt(1 - found)) ** 2, rel=1e-5)
    assert minimum_detectable_difference(*discordant(0, 0, 3)) == 1.0
    assert minimum_detectable_difference(*discordant(2, 2, 4)) <= 1.0


@pytest.mark.parametrize(
    ("difference", "discordance", "alpha", "power"),
    [(0.0, 0.1, 0.05, 0.8), (0.1, 1.1, 0.05, 0.8), (0.1, 0.1, 0.0, 0.8), (0.1, 0.1, 0.05, 0.2)],
)
def test_rows_needed_refuses_what_is_out_of_range(difference, discordance, alpha, power):
    with pytest.raises(ValueError, match="got"):
        rows_needed(difference, discordance, alpha, power)
