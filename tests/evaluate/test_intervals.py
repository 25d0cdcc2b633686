import numpy as np
import pytest
from scipy.stats import binom, binomtest

from adjudge.evaluate.intervals import (
    accuracy_needed,
    macro_f1_interval,
    proportion_differs,
    proportion_exceeds,
    resampled_counts,
    wilson_interval,
)
from adjudge.evaluate.metrics import NO_ANSWER, macro_f1
from adjudge.evaluate.sets import set_macro_f1


def problem(n=400, n_classes=4, right=0.7, seed=0):
    generator = np.random.default_rng(seed)
    gold = generator.choice(n_classes, size=n, p=np.arange(n_classes, 0, -1) / np.arange(1, n_classes + 1).sum())
    return gold, np.where(generator.random(n) < right, gold, generator.integers(0, n_classes, n))


def test_wilson_equals_published_values():
    """Newcombe (1998), table I, method 3: 81/263, 15/148, 0/20 and 1/29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), expected in published.items():
        assert wilson_interval(successes, n) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 2000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(n, confidence):
    for successes in {0, 1, n // 2, n - 1, n}:
        expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
        assert wilson_interval(successes, n, confidence) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_ends_exactly_at_zero_and_one():
    assert wilson_interval(0, 3)[0] == 0.0
    assert wilson_interval(3, 3)[1] == 1.0


@pytest.mark.parametrize(("successes", "n", "confidence"), [(-1, 3, 0.95), (4, 3, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_wilson_refuses_what_is_no_proportion(successes, n, confidence):
    with pytest.raises(ValueError, match="got"):
        wilson_interval(successes, n, confidence)


def test_wilson_covers_the_truth_as_often_as_it_says():
    # The exact chance, summed over all outcomes, and averaged over proportions: single ones jump about 0.95.
    outcomes = np.arange(61)
    ends = np.array([wilson_interval(int(k), 60) for k in outcomes])
    coverage = [
        binom.pmf(outcomes, 60, truth)[(ends[:, 0] <= truth) & (truth <= ends[:, 1])].sum()
        for truth in np.linspace(0.05, 0.95, 181)
    ]
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.005)
    assert min(coverage) > 0.9


def test_macro_f1_with_many_rows_equals_naive_resampling_of_rows():
    gold, predicted = problem(3000)
    predicted[::17] = NO_ANSWER
    generator = np.random.default_rng(1)
    draws = []
    for _ in range(2000):
        drawn = generator.integers(0, len(gold), len(gold))
        draws.append(macro_f1(gold[drawn], predicted[drawn], 4))
    interval = macro_f1_interval(gold, predicted, 4, resamples=10_000, seed=2)
    # Resampled rows vary the labels' numbers too, which matters little here.
    assert interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.35 * np.std(draws))


def coverage(counts, recall, trials, seed=0):
    """How often the interval holds the truth: labels of so many rows, each right with ``recall``, else any other."""
    counts = np.asarray(counts)
    n_classes, gold = len(counts), np.repeat(np.arange(len(counts)), counts)
    false = (1 - recall) * (counts.sum() - counts) / (n_classes - 1)
    truth = float(np.mean(2 * counts * recall / (counts * (1 + recall) + false)))
    generator, sides = np.random.default_rng(seed), np.zeros(2)
    for trial in range(trials):
        other = (gold + generator.integers(1, n_classes, len(gold))) % n_classes
        predicted = np.where(generator.random(len(gold)) < recall, gold, other)
        low, high = macro_f1_interval(gold, predicted, n_classes, resamples=300, seed=trial)
        sides += [truth < low, truth > high]
    return 1 - sides.sum() / trials, sides / trials


@pytest.mark.parametrize(
    ("counts", "recall"),
    [
        ([150, 90, 60], 0.8),
        ([200, 200, 200, 3], 0.7),
        pytest.param([4] * 77, 0.5, marks=pytest.mark.slow),
        pytest.param([4] * 77, 0.9, marks=pytest.mark.slow),
    ],
)
def test_macro_f1_covers_the_truth_about_as_often_as_it_says(counts, recall):
    """Percentiles of the bootstrap cover 46 to 83% where 77 labels have four rows each."""
    covered, sides = coverage(counts, recall, 150)
    assert covered > 0.89  # P(X < 134 of 150) = 0.4% where 95% are covered
    assert sides.max() < 0.08


def test_macro_f1_leaves_room_for_what_few_rows_hide():
    gold = np.array([0, 1, 2, 2])
    low, high = macro_f1_interval(gold, gold, 3)
    assert low < 0.8
    assert high == 1.0
    assert macro_f1_interval(np.array([1]), np.array([0]), 2) != (0.0, 0.0)


def test_macro_f1_interval_is_reproducible_and_its_seed_matters():
    gold, predicted = problem()
    assert macro_f1_interval(gold, predicted, 4, seed=3) == macro_f1_interval(gold, predicted, 4, seed=3)
    assert macro_f1_interval(gold, predicted, 4, seed=3) != macro_f1_interval(gold, predicted, 4, seed=4)


def test_macro_f1_interval_narrows_with_rows_and_widens_with_seeds_that_differ():
    def width(n, *rights):
        gold = problem(n)[0]
        luck, other = np.random.default_rng(7).random(n), np.random.default_rng(8).integers(0, 4, n)
        low, high = macro_f1_interval(gold, np.stack([np.where(luck < right, gold, other) for right in rights]), 4)
        return high - low

    assert width(4000, 0.7) < width(400, 0.7) / 2
    assert width(4000, 0.6, 0.7, 0.8) > 2 * width(4000, 0.7)


def test_macro_f1_interval_of_sets_is_around_their_macro_f1():
    generator = np.random.default_rng(0)
    table = np.array([[False, False, False], [True, False, False], [True, True, False], [False, True, True]])
    gold = generator.integers(0, 4, 600)
    predicted = np.where(generator.random(600) < 0.7, gold, generator.integers(0, 4, 600))
    low, high = macro_f1_interval(gold, predicted, table)
    assert low < set_macro_f1(table[gold], table[predicted]) < high
    assert 0.02 < high - low < 0.12


def test_resamples_come_in_chunks_of_bounded_size_and_keep_the_number_of_rows():
    counts = np.ones(100_000, dtype=np.int64)
    chunks = list(resampled_counts(counts, 45, np.random.default_rng(0)))
    assert sum(len(chunk) for chunk in chunks) == 45
    assert len(chunks) > 1
    assert max(chunk.size for chunk in chunks) <= 4_000_000
    assert all((chunk.sum(axis=1) == 100_000).all() for chunk in chunks)
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        next(resampled_counts(counts, 0, np.random.default_rng(0)))


def test_proportion_exceeds_is_the_exact_binomial_test():
    for successes in (0, 1860, 1872, 2000):
        expected = binomtest(successes, 2000, 0.9262, alternative="greater").pvalue
        assert proportion_exceeds(successes, 2000, 0.9262) == pytest.approx(expected, rel=1e-9)
    assert proportion_exceeds(2, 2, 0.5) == pytest.approx(0.25)
    assert proportion_exceeds(0, 5, 0.5) == 1.0


def test_proportion_differs_is_twice_the_smaller_tail():
    for successes in (1800, 1852, 1876):
        tails = [binomtest(successes, 2000, 0.9262, alternative=side).pvalue for side in ("greater", "less")]
        assert proportion_differs(successes, 2000, 0.9262) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-9)
    assert proportion_differs(1, 2, 0.5) == 1.0


def test_accuracy_needed_is_the_first_that_the_test_calls_above():
    for n, constant, alpha in [(2000, 0.9262, 0.05), (2000, 0.9262, 0.025), (300, 0.5, 0.01), (10, 0.0, 0.05)]:
        successes = round(accuracy_needed(n, constant, alpha) * n)
        assert proportion_exceeds(successes, n, constant) <= alpha < proportion_exceeds(successes - 1, n, constant)


def test_accuracy_needed_by_side_of_the_test():
    """One-sided exact 0.9360, two-sided exact 0.9380, and the normal approximation of the latter 0.9377."""
    assert accuracy_needed(2000, 0.9262) == 0.936
    assert accuracy_needed(2000, 0.9262, 0.025) == 0.938
    assert 0.9262 + 1.96 * np.sqrt(0.9262 * 0.0738 / 2000) == pytest.approx(0.9377, abs=5e-5)


def test_accuracy_needed_is_above_one_where_nothing_is_enough():
    assert accuracy_needed(10, 1.0) > 1
    assert accuracy_needed(3, 0.9) > 1
