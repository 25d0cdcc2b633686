import polars as pl
import pytest

from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import load_task
from adjudge.experiment.runner import run_recipe
from adjudge.recipe.minutes import estimate_minutes, guess_tokens, matrix_speed
from adjudge.recipe.recipe import load_recipe
from adjudge.recipe.starter import write_starter

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
    assert starter.notes == (
        "1 row has no label; the task accepts that (missing_label), so that it runs; better repair the data and take "
        "the code out of `accept`",
        "could be the label too: 'shop'; choose with --label",
    )
    assert load_task(starter.task).data.accept == ["missing_label"]


@pytest.mark.slow
@pytest.mark.usefixtures("fast_verify")
def test_a_file_with_empty_texts_runs_unedited_and_a_note_says_what_was_accepted(tmp_path, reviews):
    frame = reviews(150).with_columns(
        review=pl.when(pl.col("key") == "r7").then(pl.lit(" \u200b")).otherwise(pl.col("review"))
    )
    frame.write_csv(tmp_path / "reviews.csv")
    starter = write_starter(tmp_path / "reviews.csv", folder=tmp_path)
    assert "1 row has no text; the task accepts that (empty_text)" in starter.notes[0]
    outcomes = run_recipe(load_recipe(starter.recipe, overrides=[BASELINES]), runs=tmp_path / "runs")
    assert [outcome.status for outcome in outcomes] == ["complete", "complete"]


LABELS = [
    ["bad\nnext line", "good"],
    ["x" * 400, "y: #" * 90],
    ["1e5", "1.0e+5"],
    ["null", "yes"],
    ["a\u0085b", "{[*&!|>'\"%@`"],
    ["😀", "- a"],
]


@pytest.mark.parametrize("labels", LABELS, ids=range(len(LABELS)))
def test_labels_and_columns_of_any_form_come_back_as_they_are_in_the_file(tmp_path, labels):
    texts = [f"a longer text with many words, number {i}" for i in range(60)]
    frame = pl.DataFrame({"a": texts, "label": labels * 30}).rename({"a": f"text {labels[0][:20]}"})
    frame.write_parquet(tmp_path / "data.parquet")
    starter = write_starter(tmp_path / "data.parquet", folder=tmp_path)
    task = load_task(starter.task)
    assert list(task.labels) == sorted(labels)
    assert (task.text, task.label) == (frame.columns[0], "label")


def test_a_column_called_label_may_hold_many_labels(tmp_path):
    frame = pl.DataFrame(
        {"text": [f"a longer text number {i}" for i in range(300)], "label": [f"c{i % 100}" for i in range(300)]}
    )
    frame.write_csv(tmp_path / "many.csv")
    assert len(write_starter(tmp_path / "many.csv", folder=tmp_path).labels) == 100


def test_names_and_columns_that_cannot_be_used_are_refused_before_anything_is_written(tmp_path, reviews):
    reviews(60).write_csv(tmp_path / "reviews.csv")
    for name in ("../x", "a b", ""):
        with pytest.raises(UsageError, match="cannot be used; allowed: letters"):
            write_starter(tmp_path / "reviews.csv", folder=tmp_path / "new", name=name)
    with pytest.raises(UsageError, match="both the text and the label"):
        write_starter(tmp_path / "reviews.csv", folder=tmp_path / "new", text="stars", label="stars")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["id", "textID", "review_id", "key", "reviewId", "UUID", "row-key"])
def test_a_unique_column_named_like_an_id_is_the_row_id(tmp_path, reviews, name):
    reviews(60).rename({"key": name}).write_csv(tmp_path / "reviews.csv")
    assert write_starter(tmp_path / "reviews.csv", folder=tmp_path).id == name


def test_scripts_without_spaces_count_a_token_for_each_character():
    assert guess_tokens("four" * 3) == 3
    assert guess_tokens("被告人") == 3
    assert guess_tokens("สวัสดี ok!!") == 6 + 1.25


def test_estimates_grow_with_rows_and_length_and_shrink_with_speed():
    base = estimate_minutes(10_000, 20, 1e11)
    assert base["majority"] < base["full"] < base["lora"]
    assert estimate_minutes(20_000, 20, 1e11)["lora"] > 1.9 * base["lora"]
    assert estimate_minutes(10_000, 60, 1e11)["lora"] > 2 * base["lora"]
    assert estimate_minutes(10_000, 20, 2e11)["lora"] < 0.6 * base["lora"]
    assert matrix_speed(256, 1) > 1e6
