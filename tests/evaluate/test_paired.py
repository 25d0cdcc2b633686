import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from adjudge.evaluate.metrics import NO_ANSWER, accuracy, macro_f1
from adjudge.evaluate.paired import (
    holm,
    mcnemar,
    minimum_detectable_difference,
    paired_bootstrap,
    paired_difference,
    rows_needed,
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
def test_interval_equals_naive_resampling_of_rows_and_seeds(metric):
    gold = rows(200)
    a = np.stack([answers(gold, right, 3, seed) for seed, right in enumerate((0.9, 0.7, 0.8))])
    b = np.stack([answers(gold, 0.6, 3, seed) for seed in (5, 6)])
    a[0, :20] = NO_ANSWER
    generator, score, naive = np.random.default_rng(1), SCORES[metric], []
    for _ in range(1500):
        drawn = generator.integers(0, 200, 200)
        value = [
            np.mean([score(gold[drawn], runs[s, drawn], 3) for s in generator.integers(0, len(runs), len(runs))])
            for runs in (a, b)
        ]
        naive.append(value[0] - value[1])
    found = paired_difference(gold, a, b, 3, metric=metric, resamples=20_000)
    # A 2.5% quantile of 1,500 normal draws has a standard error of 0.069 of their spread; 4.5 of those.
    tolerance = 0.31 * np.std(naive)
    assert (found.low, found.high) == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=tolerance)
    assert found.lower_bound == pytest.approx(np.quantile(naive, 0.05), abs=tolerance)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_identical_predictions_differ_by_nothing(metric):
    gold = rows(50)
    a = answers(gold, 0.7, 3, 1)
    found = paired_difference(gold, a, a, 3, metric=metric)
    assert (found.difference, found.low, found.high, found.lower_bound, found.p_value) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_planted_difference_is_found_in_both_directions(metric):
    gold = rows(1000)
    good, bad = answers(gold, 0.9, 3, 1), answers(gold, 0.7, 3, 2)
    found = paired_difference(gold, good, bad, 3, metric=metric)
    turned = paired_difference(gold, bad, good, 3, metric=metric)
    assert found.low > 0.08
    assert found.p_value == turned.p_value == pytest.approx(2 / 2001)
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.high < -0.08


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


def test_one_row_is_no_error():
    found = paired_difference(np.array([1]), np.array([1]), np.array([0]), 2, metric="macro_f1")
    assert (found.difference, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("gold", "a", "metric", "message"),
    [
        (np.array([0, 1]), np.array([0]), "accuracy", r"gold \[N\]"),
        (np.array([0, 2]), np.array([0, 1]), "accuracy", "labels must lie in 0 to 1"),
        (np.array([0, 1]), np.array([0, -2]), "accuracy", "labels must lie in 0 to 1"),
        (np.array([0, 1]), np.array([0, 1]), "bleu", "'accuracy' or 'macro_f1', got 'bleu'"),
    ],
)
def test_difference_refuses_input_that_does_not_fit(gold, a, metric, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(gold, a, np.array([0, 1]), 2, metric=metric)


def test_paired_bootstrap_of_scores_has_the_spread_of_the_mean():
    generator = np.random.default_rng(0)
    a = generator.normal(1.0, 1.0, 2000)
    b = a - generator.normal(0.2, 0.5, 2000)
    found = paired_bootstrap(a, b)
    error = np.std(a - b) / math.sqrt(2000)
    assert found.difference == pytest.approx(np.mean(a - b))
    assert (found.low, found.high) == pytest.approx(
        found.difference + 1.96 * error * np.array([-1, 1]), abs=0.3 * error
    )
    assert found.p_value == pytest.approx(2 / 2001)


def test_paired_bootstrap_on_correctness_is_the_difference_in_accuracy():
    gold = rows()
    a, b = answers(gold, 0.8, 3, 1), answers(gold, 0.78, 3, 2)
    by_row = paired_bootstrap((a == gold).astype(float), (b == gold).astype(float), resamples=20_000)
    by_label = paired_difference(gold, a, b, 3, resamples=20_000)
    assert by_row.difference == pytest.approx(by_label.difference)
    assert (by_row.low, by_row.high) == pytest.approx((by_label.low, by_label.high), abs=0.003)


def test_paired_bootstrap_refuses_scores_that_are_no_numbers():
    """NaN scores averaged away: refused, with the row."""
    with pytest.raises(ValueError, match="row 1 is not"):
        paired_bootstrap(np.array([0.0, np.nan]), np.array([0.0, 1.0]))


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
