"""A recipe's data as its runs see it: gated, within the budget, with or without the test split."""

from __future__ import annotations

import polars as pl
import pytest

from adjudge.core.errors import ConfigError, DataError
from adjudge.core.runs import Run
from adjudge.experiment.load import read_inputs
from adjudge.experiment.runner import run_recipe
from adjudge.recipe.recipe import load_recipe


def leaky(tmp_path, reviews):
    frame = reviews(60)
    frame.head(45).write_csv(tmp_path / "train.csv")
    frame.slice(45, 8).write_csv(tmp_path / "validation.csv")
    pl.concat([frame.tail(7), frame.head(3).with_columns(key=pl.col("key") + "x")]).write_csv(tmp_path / "test.csv")
    return {name: f"../{name}.csv" for name in ("train", "validation", "test")}


@pytest.mark.usefixtures("fast_verify")
def test_gate_errors_stop_the_recipe_unless_it_accepts_them(recipe_file, tmp_path, reviews):
    data = leaky(tmp_path, reviews)
    with pytest.raises(DataError, match=r"train & test: overlap(.|\n)*accept: \[overlap\]"):
        run_recipe(load_recipe(recipe_file(data=data)), runs=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/*/run.json"))
    (outcome,) = run_recipe(load_recipe(recipe_file(data=data, accept=["overlap"])), runs=tmp_path / "runs")
    record = Run(outcome.folder).record()
    assert outcome.status == "complete"
    assert record["data"]["accepted"] == ["overlap"]
    assert any(finding["code"] == "overlap" for finding in Run(outcome.folder).check()["findings"])


def test_accepting_a_code_that_does_not_exist_is_refused(recipe_file, tmp_path):
    with pytest.raises(ConfigError, match="overlap"):
        run_recipe(load_recipe(recipe_file(accept=["overlapp"])), runs=tmp_path / "runs")


@pytest.mark.usefixtures("fast_verify")
def test_only_accepted_errors_that_were_found_are_written_into_the_run(recipe_file, tmp_path):
    (outcome,) = run_recipe(load_recipe(recipe_file(accept=["overlap"])), runs=tmp_path / "runs")
    assert Run(outcome.folder).record()["data"]["accepted"] == []


@pytest.mark.usefixtures("fast_verify")
def test_the_budget_limits_train_rows_for_every_method_alike(recipe_file, tmp_path):
    file = recipe_file(budget={"max_train_rows": 30}, methods=[{"kind": "majority"}, {"kind": "tfidf"}])
    records = [Run(outcome.folder).record() for outcome in run_recipe(load_recipe(file), runs=tmp_path / "runs")]
    splits = [record["data"]["splits"] for record in records]
    assert splits[0] == splits[1]
    assert splits[0]["train"]["rows"] == 30 == records[1]["labels_used"]["train"]
    assert splits[0]["test"]["rows"] == 30


def test_validation_rows_are_required(recipe_file, tmp_path):
    file = recipe_file(data={"train": "../reviews.csv", "split": {"validation": 0.0}})
    with pytest.raises(DataError, match="no validation rows"):
        run_recipe(load_recipe(file), runs=tmp_path / "runs")


def test_without_the_test_split_its_file_is_not_read(recipe_file, tmp_path) -> None:
    data = {"train": "../reviews.csv", "test": "../there-is-no-such-file.csv"}
    recipe = load_recipe(recipe_file(data=data))
    inputs = read_inputs(recipe, test=False)
    assert inputs.test is None
    assert len(inputs.validation) == 15


def test_a_made_test_split_is_dropped_and_moves_no_other_row(recipe_file) -> None:
    recipe = load_recipe(recipe_file())
    whole, without = read_inputs(recipe), read_inputs(recipe, test=False)
    assert whole.test is not None
    assert without.test is None
    assert (without.train.row_ids, without.validation.row_ids) == (whole.train.row_ids, whole.validation.row_ids)
