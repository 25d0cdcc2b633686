import numpy as np
import pytest
from scipy.stats import binom, binomtest

from adjudge.evaluate.intervals import (
    accuracy_needed,
    bootstrap_intervals,
    proportion_differs,
    proportion_exceeds,
    resampled_counts,
    wilson_interval,
)
from adjudge.evaluate.metrics import NO_ANSWER, accuracy, macro_f1


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


def test_bootstrap_equals_naive_resampling_of_rows():
    """The multinomial over confusion cells has the same percentiles as drawing rows, within Monte Carlo error."""
    gold, predicted = problem()
    predicted[::17] = NO_ANSWER
    generator = np.random.default_rng(1)
    naive = {"accuracy": [], "macro_f1": []}
    for _ in range(4000):
        rows = generator.integers(0, len(gold), len(gold))
        naive["accuracy"].append(accuracy(gold[rows], predicted[rows]))
        naive["macro_f1"].append(macro_f1(gold[rows], predicted[rows], 4))
    found = bootstrap_intervals(gold, predicted, 4, resamples=20_000, seed=2)
    for name, draws in naive.items():
        # A 2.5% quantile of 4,000 normal draws has a standard error of 0.042 of their spread; 4.5 of those.
        assert found[name] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.19 * np.std(draws))


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    # The population: 3 classes with shares .5 .3 .2, each right with .8 and else one of the others.
    shares = np.array([0.5, 0.3, 0.2])
    cells = shares[:, None] * (np.full((3, 3), 0.1) + 0.7 * np.eye(3))
    truth = float(np.mean(2 * cells.diagonal() / (cells.sum(axis=0) + cells.sum(axis=1))))
    generator = np.random.default_rng(0)
    inside = 0
    for trial in range(300):
        gold, predicted = np.divmod(generator.choice(9, size=300, p=cells.ravel()), 3)
        low, high = bootstrap_intervals(gold, predicted, 3, resamples=400, seed=trial)["macro_f1"]
        inside += low <= truth <= high
    assert 0.90 < inside / 300 < 0.985


def test_bootstrap_is_reproducible_and_its_seed_matters():
    gold, predicted = problem()
    assert bootstrap_intervals(gold, predicted, 4, seed=3) == bootstrap_intervals(gold, predicted, 4, seed=3)
    assert bootstrap_intervals(gold, predicted, 4, seed=3) != bootstrap_intervals(gold, predicted, 4, seed=4)


def test_bootstrap_narrows_with_rows_and_widens_with_confidence():
    def width(n, confidence):
        low, high = bootstrap_intervals(*problem(n), 4, confidence=confidence)["macro_f1"]
        return high - low

    assert width(4000, 0.95) < width(400, 0.95) / 2
    assert width(400, 0.5) < width(400, 0.95)


def test_bootstrap_of_one_row_and_of_no_errors_is_a_point():
    for gold in (np.array([1]), np.array([0, 1, 2, 2])):
        assert bootstrap_intervals(gold, gold, 3) == {"accuracy": (1.0, 1.0), "macro_f1": (1.0, 1.0)}


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
