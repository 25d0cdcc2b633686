import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import f1_score, matthews_corrcoef

from adjudge.evaluate.metrics import NO_ANSWER
from adjudge.evaluate.population import count_values, mean_values, seeds_spread


def answers(gold, right, n_classes, seed):
    generator = np.random.default_rng(seed)
    return np.where(generator.random(gold.shape) < right, gold, generator.integers(0, n_classes, gold.shape))


def rows(n=500, n_classes=3, seed=0):
    return np.random.default_rng(seed).integers(0, n_classes, n)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (99, 100), (1, 1)])
def test_bounds_of_an_accuracy_are_those_of_clopper_and_pearson(right, n):
    scores = np.repeat([1.0, 0.0], [right, n - right])[None]
    values = mean_values([scores], (0.0, 1.0), resamples=40_000)[0]
    low = beta.ppf(0.05, right, n - right + 1) if right else 0.0
    high = beta.ppf(0.95, right + 1, n - right) if right < n else 1.0
    assert np.quantile(values.lost[0], 0.05) == pytest.approx(low, abs=0.006)
    assert np.quantile(values.won[0], 0.95) == pytest.approx(high, abs=0.006)
    assert values.observed == right / n


def test_the_unseen_row_of_any_bounded_score_is_the_worst_or_the_best_there_can_be():
    values = mean_values([np.full((1, 50), -0.25)], (-1.0, 0.0), resamples=20_000)[0]
    share = 1 - 0.05 ** (1 / 50)
    assert np.quantile(values.lost[0], 0.05) == pytest.approx(-0.25 - 0.75 * share, abs=0.004)
    assert np.quantile(values.won[0], 0.95) == pytest.approx(-0.25 + 0.25 * share, abs=0.004)


def test_scores_out_of_bounds_or_without_a_value_are_refused_with_the_row():
    """NaN scores averaged away: refused, with the row."""
    for bad in (np.nan, 1.5, -0.5):
        with pytest.raises(ValueError, match="row 1: scores must be finite"):
            mean_values([np.array([[0.0, bad]])], (0.0, 1.0))
    with pytest.raises(ValueError, match="of the same rows"):
        mean_values([np.zeros((1, 3)), np.zeros((1, 4))], (0.0, 1.0))
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        mean_values([np.zeros((1, 3))], (0.0, 1.0), resamples=0)


@pytest.mark.parametrize("metric", ["macro_f1", "mcc"])
def test_observed_is_the_mean_over_seeds_of_what_scikit_learn_says(metric):
    gold = rows()
    runs = np.stack([answers(gold, right, 3, seed) for seed, right in enumerate((0.9, 0.5))])
    score = {"macro_f1": lambda run: f1_score(gold, run, average="macro"), "mcc": lambda r: matthews_corrcoef(gold, r)}
    values = count_values(gold, [runs], 3, metric, resamples=50)[0]
    assert values.observed == pytest.approx(np.mean([score[metric](run) for run in runs]), abs=1e-12)


def test_a_reply_that_could_not_be_read_is_one_more_wrong_answer_to_mcc():
    gold, run = rows(200), answers(rows(200), 0.8, 3, 1)
    unread = np.where(np.arange(200) < 40, NO_ANSWER, run)
    as_fourth = np.where(unread == NO_ANSWER, 3, unread)
    observed = count_values(gold, [unread[None]], 3, "mcc", resamples=10)[0].observed
    assert observed == pytest.approx(matthews_corrcoef(gold, as_fourth), abs=1e-12)


@pytest.mark.parametrize("metric", ["macro_f1", "mcc"])
def test_several_labels_count_by_the_table_of_sets(metric):
    table = np.array([[False, False], [True, False], [False, True], [True, True]])
    gold, run = rows(300, 4), answers(rows(300, 4), 0.7, 4, 3)
    held, given = table[gold], table[run]
    values = count_values(gold, [run[None]], table, metric, resamples=400)[0]
    if metric == "macro_f1":
        expected = f1_score(held, given, average="macro")
    else:
        expected = matthews_corrcoef(held.ravel(), given.ravel())
    assert values.observed == pytest.approx(expected, abs=1e-12)
    assert np.quantile(values.lost, 0.05, axis=1).max() < expected < np.quantile(values.won, 0.95, axis=1).min()


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
def test_a_rare_label_without_a_loss_leaves_the_room_of_clopper_and_pearson(count):
    """The one rare label of two: its recall may be 0.05^(1/n), so its F1 may be 2 r / (1 + r)."""
    gold = np.repeat([0, 1], [2000, count])
    values = count_values(gold, [gold[None]], 2, "macro_f1", resamples=20_000)[0]
    recall = 0.05 ** (1 / count)
    # How many rows the label has is drawn too, so up to half as much again with the fewest of them.
    room = (1 - 2 * recall / (1 + recall)) / 2
    lower = np.quantile(values.lost - values.won, 0.05, axis=1).min()
    assert -1.5 * room - 0.003 <= lower <= -0.9 * room


def test_the_unseen_row_may_be_spread_over_several_rare_labels():
    """Two labels of two rows can hide more together than one of them: twice 1 - e^(-1.5/2), not 1 - 0.05^(1/2)."""
    gold = np.repeat([0, 1, 2], [500, 2, 2])
    values = count_values(gold, [gold[None]], 3, "macro_f1", resamples=20_000)[0]
    bounds = np.quantile(values.lost - values.won, 0.05, axis=1)
    assert bounds.argmin() == 1
    assert bounds[1] < bounds[0] - 0.02


def test_all_methods_are_drawn_over_the_same_population():
    gold = rows(100)
    run = answers(gold, 0.7, 3, 1)[None]
    for draw in (
        lambda methods: count_values(gold, methods, 3, "macro_f1", resamples=200),
        lambda methods: mean_values([(m == gold).astype(float) for m in methods], (0.0, 1.0), resamples=200),
    ):
        first, second = draw([run, run])
        np.testing.assert_array_equal(first.lost, second.lost)
        np.testing.assert_array_equal(first.won, second.won)


def test_draws_come_in_chunks_and_are_as_many_as_asked():
    scores = np.random.default_rng(0).random((1, 100_000))
    values = mean_values([scores], (0.0, 1.0), resamples=95)[0]
    assert values.lost.shape == values.won.shape == (1, 95)
    assert values.spread.shape == (95,)


def test_seeds_spread_is_that_of_their_mean_by_a_t_distribution():
    generator = np.random.default_rng(0)
    draws = seeds_spread(np.array([0.8, 0.82, 0.84]), 200_000, generator)
    # t with 2 degrees of freedom: its 95% quantile is 2.920; sd 0.02, root of 3.
    assert np.quantile(draws, 0.95) == pytest.approx(2.920 * 0.02 / np.sqrt(3), rel=0.02)
    assert not seeds_spread(np.array([0.8]), 100, generator).any()
    assert not seeds_spread(np.array([0.8, 0.8]), 100, generator).any()


@pytest.mark.parametrize(
    ("gold", "run", "message"),
    [
        (np.array([0, 1]), np.array([[0]]), r"gold \[N\]"),
        (np.array([0, 2]), np.array([[0, 1]]), "labels must lie in 0 to 1"),
        (np.array([0, 1]), np.array([[0, -2]]), "labels must lie in 0 to 1"),
        (np.array([], dtype=int), np.zeros((1, 0), dtype=int), r"gold \[N\]"),
    ],
)
def test_answers_that_do_not_fit_are_refused(gold, run, message):
    with pytest.raises(ValueError, match=message):
        count_values(gold, [run], 2, "macro_f1")


@pytest.mark.parametrize(("labels", "count"), [(77, 4), (40, 10)])
def test_labels_with_few_rows_vary_from_draw_to_draw_as_they_do_from_sample_to_sample(labels, count):
    """Two methods with independent errors: the draws' standard deviation is that of the difference itself."""
    gold, generator = np.repeat(np.arange(labels), count), np.random.default_rng(0)

    def sample():
        other = (gold + generator.integers(1, labels, len(gold))) % labels
        return np.where(generator.random(len(gold)) < 0.7, gold, other)[None]

    differences, spreads = [], []
    for trial in range(120):
        first, second = count_values(gold, [sample(), sample()], labels, "macro_f1", resamples=60, seed=trial)
        differences.append(first.observed - second.observed)
        spreads.append((first.lost - second.lost)[-1].std())
    # The standard deviation of 120 is known to 6.5%; with equal shapes it is 1.38 and 1.12 times the draws'.
    assert np.mean(spreads) == pytest.approx(np.std(differences), rel=0.2)
    assert np.mean(spreads) > 0.9 * np.std(differences)
