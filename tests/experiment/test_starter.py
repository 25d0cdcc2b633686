import polars as pl
import pytest

from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import load_task
from adjudge.experiment.recipe import load_recipe
from adjudge.experiment.runner import run_recipe
from adjudge.experiment.starter import estimate_minutes, matrix_speed, write_starter

BASELINES = "methods=[{kind: majority}, {kind: tfidf}]"


@pytest.mark.usefixtures("fast_verify")
def test_the_files_that_it_writes_run_unedited(tmp_path, reviews):
    reviews(150).write_csv(tmp_path / "reviews.csv")
    starter = write_starter(tmp_path / "reviews.csv", folder=tmp_path / "project")
    assert (starter.text, starter.label, starter.id) == ("review", "stars", "key")
    assert starter.labels == ("neg", "pos")
    assert load_task(starter.task).name == "reviews"
    loaded = load_recipe(starter.recipe, overrides=[BASELINES])
    outcomes = run_recipe(loaded, runs=tmp_path / "runs")
    assert [outcome.status for outcome in outcomes] == ["complete", "complete"], [o.error for o in outcomes]


def test_all_six_methods_are_in_the_recipe_each_with_its_time(tmp_path, reviews):
    reviews(60).write_csv(tmp_path / "reviews.csv")
    text = write_starter(tmp_path / "reviews.csv", folder=tmp_path).recipe.read_text()
    for method in ("majority", "tfidf", "embedding", "zero_shot", "full", "lora"):
        (line,) = [line for line in text.splitlines() if f"kind: {method} " in line]
        assert "#" in line
        assert "min" in line or " h" in line


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, reviews):
    reviews(60).write_csv(tmp_path / "reviews.csv")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "reviews.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"reviews\.yaml: there already"):
        write_starter(tmp_path / "reviews.csv", folder=tmp_path)
    assert (tmp_path / "recipes" / "reviews.yaml").read_text() == "mine"
    assert not (tmp_path / "tasks").exists()


def test_columns_are_found_by_content_and_awkward_names_and_labels_survive(tmp_path):
    rows = 90
    frame = pl.DataFrame(
        {
            "Was it: good?": ["no", "yes", "1.0"] * (rows // 3),
            "ข้อความ #1": [f"a longer text with many words, number {i}" for i in range(rows)],
            "when": [f"2024-01-{i:04}" for i in range(rows)],
        }
    )
    frame.write_csv(tmp_path / "my data (new).csv")
    starter = write_starter(tmp_path / "my data (new).csv", folder=tmp_path)
    task = load_task(starter.task)
    assert task.text == "ข้อความ #1"
    assert task.label == "Was it: good?"
    assert list(task.labels) == ["1.0", "no", "yes"]
    assert task.name == "my-data-new"
    assert (starter.task.parent / task.data.train.path).resolve() == (tmp_path / "my data (new).csv").resolve()


def test_columns_can_be_said(tmp_path, reviews):
    reviews(60).write_csv(tmp_path / "reviews.csv")
    starter = write_starter(tmp_path / "reviews.csv", folder=tmp_path, name="by-shop", label="shop")
    assert starter.label == "shop"
    assert starter.recipe.name == "by-shop.yaml"
    with pytest.raises(DataError, match=r"no column 'stras'.*'stars'"):
        write_starter(tmp_path / "reviews.csv", folder=tmp_path, name="x", label="stras")


def test_several_possible_labels_are_named_and_none_is_picked(tmp_path, reviews):
    reviews(60).rename({"stars": "a", "shop": "b"}).write_csv(tmp_path / "reviews.csv")
    with pytest.raises(DataError, match=r"several columns could be the label: a \(2 values\), b \(2 values\)"):
        write_starter(tmp_path / "reviews.csv", folder=tmp_path)
    assert not (tmp_path / "tasks").exists()


def test_files_without_text_or_label_say_what_was_seen(tmp_path, reviews):
    reviews(60).select("stars").write_csv(tmp_path / "short.csv")
    with pytest.raises(DataError, match="no column looks like text: stars"):
        write_starter(tmp_path / "short.csv", folder=tmp_path)
    reviews(60).select("key", "review").write_csv(tmp_path / "bare.csv")
    with pytest.raises(DataError, match=r"no column looks like a label(.|\n)*key \(60 values\)"):
        write_starter(tmp_path / "bare.csv", folder=tmp_path)


def test_missing_labels_are_noted(tmp_path, reviews):
    frame = reviews(60).with_columns(stars=pl.when(pl.col("key") == "r7").then(None).otherwise(pl.col("stars")))
    frame.write_csv(tmp_path / "reviews.csv")
    starter = write_starter(tmp_path / "reviews.csv", folder=tmp_path)
    assert starter.notes == ("1 rows have no label; the data gate will name them",)


def test_estimates_grow_with_rows_and_length_and_shrink_with_speed():
    base = estimate_minutes(10_000, 20, 1e11)
    assert base["majority"] < base["full"] < base["lora"]
    assert estimate_minutes(20_000, 20, 1e11)["lora"] > 1.9 * base["lora"]
    assert estimate_minutes(10_000, 60, 1e11)["lora"] > 2 * base["lora"]
    assert estimate_minutes(10_000, 20, 2e11)["lora"] < 0.6 * base["lora"]
    assert matrix_speed(256, 1) > 1e6
