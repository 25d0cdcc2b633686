from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from runs_builder import Spec, build_run, make_rows
from scipy.stats import binom
from sklearn.metrics import f1_score

from adjudge.compare.comparison import CompareOptions, Comparison, Constant, compare_runs
from adjudge.compare.notes import rows_without_a_loss
from adjudge.compare.testing import rows_to_settle
from adjudge.core.errors import ConfigError
from adjudge.core.runs import Run


def test_the_reference_is_chosen_by_validation_even_where_test_says_otherwise(compared) -> None:  # type: ignore[no-untyped-def]
    found = compared(
        Spec("lora", accuracy=0.70, validation_accuracy=0.95),
        Spec("full", accuracy=0.90, validation_accuracy=0.80),
    )
    assert found.reference == "lora"
    assert found.group("full").test["macro_f1"].mean > found.group("lora").test["macro_f1"].mean


def test_scores_are_those_of_scikit_learn_on_the_prediction_files(
    realistic: Comparison, realistic_runs: list[Run]
) -> None:
    run = next(run for run in realistic_runs if run.name.startswith("tfidf"))
    table = run.predictions("test")
    expected = f1_score(table["gold"].to_list(), table["predicted"].to_list(), average="macro")
    assert realistic.group("tfidf").test["macro_f1"].mean == pytest.approx(expected, abs=1e-12)


def test_seeds_of_one_config_are_one_group_with_mean_and_spread(realistic: Comparison) -> None:
    full = realistic.group("full · minilm-l6")
    values = full.test["accuracy"].values
    assert full.seeds == (0, 1, 2)
    assert full.test["accuracy"].mean == pytest.approx(np.mean(values))
    assert full.test["accuracy"].sd == pytest.approx(np.std(values, ddof=1))
    assert (full.test["accuracy"].minimum, full.test["accuracy"].maximum) == (min(values), max(values))
    assert realistic.group("tfidf").test["accuracy"].sd is None


def test_configs_of_one_method_are_told_apart_by_what_differs(realistic: Comparison) -> None:
    labels = {group.label for group in realistic.groups}
    assert {"lora · smollm2-135m · head=score", "lora · smollm2-135m · head=label", "lora · minilm-l6"} <= labels
    assert len(labels) == 8


def test_unequal_numbers_of_rows_never_share_a_label(compared) -> None:  # type: ignore[no-untyped-def]
    found = compared(Spec("lora", options={"rank": 8}), Spec("lora", options={"rank": 16}), Spec("lora"))
    assert {g.label for g in found.groups} == {"lora · rank=8", "lora · rank=16", "lora · rank=None"}


def test_an_interval_over_several_seeds_covers_the_mean_and_is_no_point(realistic: Comparison) -> None:
    for group in realistic.groups:
        for metric in ("accuracy", "macro_f1"):
            low, high = group.intervals[metric]
            assert low < group.test[metric].mean < high


def test_holm_is_applied_over_all_comparisons_once_per_metric(realistic: Comparison) -> None:
    for metric in ("accuracy", "macro_f1"):
        tests = [test for test in realistic.differences if test.metric == metric]
        assert len(tests) == len(realistic.groups) - 1
        smallest = min(tests, key=lambda test: test.p_value)
        assert smallest.p_adjusted == pytest.approx(min(1.0, smallest.p_value * len(tests)))
        assert all(test.p_adjusted >= test.p_value for test in tests)


def test_mcnemar_is_for_pairs_of_single_runs_and_accuracy_alone(realistic: Comparison) -> None:
    for test in realistic.differences:
        single = len(realistic.group(test.label).runs) == 1
        assert (test.mcnemar_p is not None) == (single and test.metric == "accuracy")


def test_the_lower_bound_decides_and_the_whole_interval_refutes(realistic: Comparison) -> None:
    margin = realistic.options.margin
    for test in realistic.differences:
        assert test.lower_bound <= test.difference <= test.high
        assert (test.verdict == "within") == (test.lower_bound > -margin)
        assert (test.p_beyond <= 0.05) == (test.verdict == "within")
        assert test.verdict != "beyond" or test.difference < -margin
        assert test.rows_needed is None or (test.verdict == "open" and test.rows_needed > realistic.test_rows)


def test_equal_answers_at_a_lower_cost_are_chosen(tmp_path: Path) -> None:
    rows = make_rows(1500)
    runs = [build_run(tmp_path, Spec("lora", accuracy=0.9, seconds=20.0), rows)]
    runs.append(build_run(tmp_path, Spec("small", accuracy=0.9, validation_accuracy=0.85, seconds=1.0), rows))
    runs[1].write_predictions("test", runs[0].predictions("test"))
    found = compare_runs(runs, CompareOptions(resamples=200))
    assert (found.reference, found.choice) == ("lora", "small")
    assert found.differences[0].difference == 0.0
    assert "at 1/20 of its prediction time" in found.sentence


@pytest.mark.parametrize("count", [30, 200])
def test_equal_answers_on_few_rows_do_not_show_that_a_method_is_within_the_margin(tmp_path: Path, count: int) -> None:
    rows = make_rows(count)
    runs = [build_run(tmp_path, Spec("lora", accuracy=0.9, seconds=20.0), rows)]
    runs.append(build_run(tmp_path, Spec("small", accuracy=0.9, validation_accuracy=0.5, seconds=1.0), rows))
    runs[1].write_predictions("test", runs[0].predictions("test"))
    found = compare_runs(runs, CompareOptions(resamples=200))
    assert (found.reference, found.choice) == ("lora", None)
    for test in found.differences:
        # Zero losses in N rows: the one-sided upper 95% bound of their share is 1 - 0.05^(1/N).
        assert test.lower_bound <= 0.8 * (0.05 ** (1 / count) - 1)
        assert test.low < test.lower_bound < 0 < test.high
    assert f"{count} rows cannot tell" in found.sentence


def test_a_method_that_is_better_on_many_rows_and_worse_on_none_is_still_shown_to_be_better(tmp_path: Path) -> None:
    rows = make_rows(300)
    runs = [build_run(tmp_path, Spec("lora", accuracy=0.7, validation_accuracy=0.99, seconds=20.0), rows)]
    runs.append(build_run(tmp_path, Spec("small", accuracy=1.0, validation_accuracy=0.5, seconds=1.0), rows))
    found = compare_runs(runs, CompareOptions(resamples=200))
    assert (found.reference, found.choice) == ("lora", "small")
    assert all(test.lower_bound > 0 for test in found.differences)


def test_another_cost_makes_another_choice(tmp_path: Path) -> None:
    rows = make_rows(1500)
    runs = [build_run(tmp_path, Spec(name, validation_accuracy=v), rows) for name, v in (("a", 0.9), ("b", 0.85))]
    for run, (seconds, size) in zip(runs, ((1.0, 900), (2.0, 100)), strict=True):
        record = run.record()
        record["cost"] |= {"prediction_seconds_per_1000_rows": seconds, "disk_bytes": size}
        run.write_record(record)
        run.write_predictions("test", runs[0].predictions("test"))
    assert compare_runs(runs, CompareOptions(resamples=200)).choice == "a"
    by_size = compare_runs(runs, CompareOptions(resamples=200, cost="disk_bytes"))
    assert by_size.choice == "b"
    assert "1/9.0 of its size on disk" in by_size.sentence or "1/9 of its size on disk" in by_size.sentence


def test_published_accuracies_are_tested_exactly(realistic: Comparison) -> None:
    test = next(test for test in realistic.constants if test.label == "tfidf")
    assert test.correct == round(0.872 * 600)
    tails = binom.sf(test.correct - 1, 600, 0.9262), binom.cdf(test.correct, 600, 0.9262)
    assert test.p_value == pytest.approx(min(1.0, 2 * min(tails)))
    assert test.needed is not None
    assert test.needed > 0.9262


def test_the_pareto_front_holds_what_nothing_beats_in_both(realistic: Comparison) -> None:
    cost = realistic.options.cost
    for group in realistic.groups:
        beaten = any(
            other.costs[cost] < group.costs[cost] and other.test["macro_f1"].mean > group.test["macro_f1"].mean
            for other in realistic.groups
        )
        assert not (beaten and group.on_front)
    assert realistic.group("majority").on_front
    assert not realistic.group("zero_shot · smollm2-135m").on_front


def test_a_failed_run_is_a_row_of_the_comparison(realistic: Comparison) -> None:
    assert [(x.model, x.status) for x in realistic.left_out] == [("smollm2-1.7b", "failed")]
    assert "out of memory" in realistic.left_out[0].reason


def test_different_validation_rows_are_noted(tmp_path: Path) -> None:
    rows = make_rows(100)
    runs = [build_run(tmp_path, Spec(name), rows) for name in ("a", "b")]
    runs[1].write_predictions("validation", runs[1].predictions("validation")[:50])
    assert any(
        "validated on different rows" in note for note in compare_runs(runs, CompareOptions(resamples=200)).notes
    )


def test_replies_that_could_not_be_read_count_as_wrong_and_are_noted(tmp_path: Path) -> None:
    rows = make_rows(100)
    run = build_run(tmp_path, Spec("few_shot", accuracy=1.0), rows)
    table = run.predictions("test").with_row_index("i")
    unread = pl.when(pl.col("i") < 10).then(pl.lit("unparsed")).otherwise(pl.lit("parsed"))
    run.write_predictions("test", table.with_columns(parse_status=unread).drop("i"))
    found = compare_runs([run], CompareOptions(resamples=200))
    assert found.groups[0].test["accuracy"].mean == 0.9
    assert any("few_shot" in note and "(10)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cost": "prediction_second"}, "did you mean 'prediction_seconds'"),
        ({"margin": 1.5}, "margin must lie in 0 to 1"),
        ({"resamples": 3}, "resamples must be at least 100"),
        ({"metric": "macro_f2"}, "did you mean 'macro_f1'"),
        ({"constants": (Constant("x", 92.6, "s"),)}, "accuracy must lie in 0 to 1, got 92.6"),
    ],
)
def test_options_out_of_range_are_refused(realistic_runs: list[Run], options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compare_runs(realistic_runs, CompareOptions(**options))  # type: ignore[arg-type]


def test_the_comparison_is_json_and_the_same_every_time(realistic_runs: list[Run]) -> None:
    found = [compare_runs(realistic_runs, CompareOptions(resamples=200)).to_json() for _ in range(2)]
    assert json.dumps(found[0], allow_nan=False) == json.dumps(found[1])
    assert found[0]["options"]["margin"] == 0.01


def test_published_figures_of_a_recipe_come_with_its_runs(realistic_runs: list[Run], tmp_path: Path) -> None:
    complete = next(run for run in realistic_runs if run.status == "complete")
    copy = Run(Path(shutil.copytree(complete.path, tmp_path / complete.name)))
    figure = {"name": "a published model", "accuracy": 0.5, "source": "a table"}
    copy.write_record({**copy.record(), "constants": [figure]})
    comparison = compare_runs([copy], CompareOptions(resamples=100))
    assert [test.constant for test in comparison.constants] == [Constant(**figure)]


def test_answers_of_a_rare_label_decide_nothing_however_lucky(tmp_path: Path) -> None:
    """Wrong in 30 to 40% of worlds with a rare class: two of 2,000 rows do not show that a label's F1 is kept."""
    rows = make_rows(1000, labels=("a", "b", "c"))
    gold = ["a"] * 500 + ["b"] * 498 + ["c"] * 2
    rows = replace(rows, test=replace(rows.test, labels=gold))
    runs = [build_run(tmp_path, Spec("lora", accuracy=1.0, seconds=20.0), rows)]
    runs.append(build_run(tmp_path, Spec("small", accuracy=1.0, validation_accuracy=0.5, seconds=1.0), rows))
    found = compare_runs(runs, CompareOptions(resamples=500))
    assert found.choice is None
    assert any("make this test blind: c (2 rows)" in note and "fewer than 50 rows" in note for note in found.notes)
    by_accuracy = compare_runs(runs, CompareOptions(resamples=500, metric="accuracy"))
    assert by_accuracy.choice == "small"


def test_many_candidates_must_all_be_within_the_margin_together(tmp_path: Path) -> None:
    rows = make_rows(2000)
    specs = [Spec("lora", accuracy=0.9, seconds=20.0)]
    specs += [
        Spec("small", accuracy=0.896, validation_accuracy=0.5, seconds=1.0 + i, options={"o": i}, kinship=0.97)
        for i in range(8)
    ]
    runs = [build_run(tmp_path, spec, rows) for spec in specs]
    together = compare_runs(runs, CompareOptions(resamples=500, metric="accuracy"))
    alone = compare_runs(runs[:2], CompareOptions(resamples=500, metric="accuracy"))
    one = next(test for test in alone.differences if test.metric == "accuracy")
    same = next(
        test for test in together.differences if test.metric == "accuracy" and test.label.startswith("small · o=0")
    )
    assert same.difference == one.difference
    assert same.lower_bound < one.lower_bound
    assert same.p_beyond > one.p_beyond


def test_one_seed_is_noted_and_a_deterministic_method_needs_no_other(compared) -> None:  # type: ignore[no-untyped-def]
    fixed = {"deterministic": True}
    found = compared(Spec("lora"), Spec("tfidf", facts=fixed))
    assert any(note.startswith("lora has one seed") for note in found.notes)
    found = compared(Spec("majority", facts=fixed), Spec("embedding", facts=fixed))
    assert not any("seed" in note for note in found.notes)


def test_seeds_far_apart_keep_a_method_from_being_shown_to_be_within_the_margin(tmp_path: Path) -> None:
    rows = make_rows(3000)
    options = CompareOptions(resamples=500, metric="accuracy")
    close = [Spec("small", accuracy=0.9, validation_accuracy=0.5, seed=s, options={"o": 1}) for s in range(3)]
    apart = [
        Spec("small", accuracy=a, validation_accuracy=0.5, seed=s, options={"o": 2})
        for s, a in enumerate((0.88, 0.9, 0.92))
    ]
    reference = build_run(tmp_path, Spec("lora", accuracy=0.9, seconds=20.0), rows)
    bounds = []
    for specs in (close, apart):
        found = compare_runs([reference, *(build_run(tmp_path, spec, rows) for spec in specs)], options)
        bounds.append(next(t for t in found.differences if t.metric == "accuracy").lower_bound)
    assert bounds[1] < -0.02 < bounds[0]


def test_a_shift_is_said_before_the_choice_and_the_floor_is_not_chosen(tmp_path: Path) -> None:
    rows = make_rows(400, labels=("hate", "none"))
    fixed = {"deterministic": True}
    specs = [
        Spec("tfidf", accuracy=0.3, validation_accuracy=0.71, seconds=5.0, facts=fixed),
        Spec("embedding", accuracy=0.6, validation_accuracy=0.6, seconds=9.0, facts=fixed),
        Spec("majority", accuracy=0.3, validation_accuracy=0.5, seconds=0.01, facts=fixed),
    ]
    runs = [build_run(tmp_path, spec, rows) for spec in specs]
    constant = runs[2].predictions("test").with_columns(predicted=pl.lit("hate"))
    runs[2].write_predictions("test", constant)
    found = compare_runs(runs, CompareOptions(resamples=500))
    assert found.reference == "tfidf"
    assert found.choice != "majority"
    assert found.sentence.startswith("Validation and test differ more than chance: the accuracy of tfidf is 0.7")
    assert "is shown to be better than the reference by +29." in found.sentence
    assert "confirm it on fresh rows" in found.sentence


def test_splits_of_one_kind_are_not_called_shifted(realistic: Comparison) -> None:
    assert "differ more than chance" not in realistic.sentence


@pytest.mark.parametrize("metric", ["accuracy", "mcc", "log_loss"])
def test_other_metrics_decide(realistic_runs: list[Run], metric: str) -> None:
    found = compare_runs(realistic_runs, CompareOptions(resamples=200, metric=metric, margin=0.02))  # type: ignore[arg-type]
    sign = found.options.deciding.sign
    assert found.reference == max(found.groups, key=lambda g: sign * g.validation[metric].mean).label
    test = next(t for t in found.differences if t.metric == metric)
    gain = sign * (found.group(test.label).test[metric].mean - found.group(found.reference).test[metric].mean)
    assert test.difference == pytest.approx(gain, abs=1e-6)
    assert found.options.deciding.title in found.sentence or "Choose" in found.sentence


def test_what_mistakes_cost_decides(tmp_path: Path) -> None:
    """Both are wrong on as many rows; one of them on those where it is dear."""
    rows = make_rows(1000, labels=("urgent", "later"))
    runs = [build_run(tmp_path, Spec(name, accuracy=1.0, seconds=s), rows) for name, s in (("a", 2.0), ("b", 1.0))]
    for run, label, other in zip(runs, ("urgent", "later"), ("later", "urgent"), strict=True):
        for split in ("validation", "test"):
            table = run.predictions(split).with_row_index("i")
            wrong = (pl.col("gold") == label) & (pl.col("i") < 300)
            swapped = pl.when(wrong).then(pl.lit(other)).otherwise(pl.col("gold"))
            run.write_predictions(split, table.with_columns(predicted=swapped).drop("i"))
    costs = {"urgent": {"later": 10.0}, "later": {"urgent": 0.5}}
    found = compare_runs(runs, CompareOptions(resamples=200, metric="cost", mistake_costs=costs))
    assert (found.reference, found.choice) == ("b", "b")
    test = runs[0].predictions("test")[:300]
    assert found.group("a").test["cost"].mean == pytest.approx(10 * (test["gold"] == "urgent").sum() / 1000)
    with pytest.raises(ConfigError, match="needs the costs of mistakes"):
        compare_runs(runs, CompareOptions(resamples=200, metric="cost"))
    with pytest.raises(ConfigError, match="'never' is no label"):
        compare_runs(runs, CompareOptions(resamples=200, metric="cost", mistake_costs={"never": {"later": 1.0}}))


def test_costs_of_mistakes_come_with_the_runs_and_tell_no_groups_apart(tmp_path: Path) -> None:
    rows = make_rows(300, labels=("urgent", "later"))
    runs = [build_run(tmp_path, Spec("lora", seed=seed), rows) for seed in range(2)]
    for run, costs in zip(runs, ({"urgent": {"later": 7.0}}, None), strict=True):
        record = run.record()
        labels = {label: {"mistakes": costs.get(label)} if costs else {} for label in rows.labels}
        record["config"]["task"]["labels"] = labels
        run.write_record(record)
    found = compare_runs(runs, CompareOptions(resamples=200, metric="cost"))
    assert [group.seeds for group in found.groups] == [(0, 1)]


@pytest.mark.parametrize(
    ("margin", "of_f1", "rows"),
    [(0.01, False, 299), (0.01, True, 150), (0.06, True, 25), (1.0, True, 1), (0.0, False, 10**9)],
)
def test_rows_from_which_on_no_loss_shows_that_less_than_the_margin_is_lost(
    margin: float, of_f1: bool, rows: int
) -> None:
    assert rows_without_a_loss(margin, of_f1=of_f1) == rows
    if 1 < rows < 10**9:
        shares = [1 - 0.05 ** (1 / n) for n in (rows - 1, rows)]
        losses = [q / (2 - q) if of_f1 else q for q in shares]
        assert losses[1] <= margin < losses[0]


@pytest.mark.parametrize("rows", [500, 2000, 10_000])
def test_rows_to_settle_a_loss_are_those_that_settle_it_four_times_in_five(rows: int) -> None:
    distance, spread = 0.012, 0.4
    needed = rows_to_settle(distance, spread / np.sqrt(rows), rows)
    assert needed is not None
    generator = np.random.default_rng(0)
    differences = generator.normal(distance, spread / np.sqrt(needed), 20_000)
    # Settled: the one-sided 95% bound, 1.645 standard errors below, lies above 0.
    assert np.mean(differences - 1.645 * spread / np.sqrt(needed) > 0) == pytest.approx(0.8, abs=0.01)
    assert rows_to_settle(1e-9, spread, rows) is None
    assert rows_to_settle(0.1, 0.0, rows) is None
    assert rows_to_settle(distance, spread / np.sqrt(rows), rows, level=0.01) > needed  # type: ignore[operator]
