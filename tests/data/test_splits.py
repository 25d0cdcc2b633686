from collections import Counter

import polars as pl
import pytest
from tests.data.split_rows import TASK, load, placed, rows_of

from adjudge.core.errors import AdjudgeWarning, ConfigError, DataError
from adjudge.core.problem import Problem
from adjudge.core.task import Data, Task
from adjudge.core.types import Split
from adjudge.data.splits import label_set, load_splits, split_hash, validate_labels


def test_given_files_are_taken_as_they_are(tmp_path):
    (tmp_path / "v.csv").write_text("text,label\nv,a\n")
    (tmp_path / "t.csv").write_text("text,label\nx,a\ny,b\n")
    splits = load(tmp_path, rows_of(6), validation="v.csv", test="t.csv")
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "validation": 1, "test": 2}
    assert [split.source for split in splits.values()] == ["a.csv", "v.csv", "t.csv"]


def test_the_problems_of_all_files_come_in_one_error(tmp_path):
    (tmp_path / "v.csv").write_bytes(b"text,label\ncaf\xc3,a\n")
    with pytest.raises(DataError) as caught:
        load(tmp_path, rows_of(6), validation="v.csv", test="missing.csv")
    assert "0xC3" in caught.value.problems[0]
    assert "missing.csv: no such file" in caught.value.problems[1]


def test_made_splits_have_the_sizes_asked_for_and_keep_each_labels_share(tmp_path):
    splits = load(tmp_path, rows_of(600))
    assert {name: len(split) for name, split in splits.items()} == {"train": 420, "validation": 60, "test": 120}
    assert Counter(splits["test"].labels) == {"a": 20, "b": 40, "c": 60}
    assert Counter(splits["validation"].labels) == {"a": 10, "b": 20, "c": 30}
    assert len(placed(splits)) == 600
    assert list(splits["test"].row_numbers) == sorted(splits["test"].row_numbers)
    assert [f"text {row - 1}" for row in splits["test"].row_numbers] == splits["test"].texts


def test_sizes_may_be_numbers_of_rows_and_zero_makes_no_split(tmp_path):
    splits = load(tmp_path, rows_of(100), split={"validation": 7, "test": 0})
    assert {name: len(split) for name, split in splits.items()} == {"train": 93, "validation": 7}


def test_given_splits_are_drawn_from_too(tmp_path):
    (tmp_path / "v.csv").write_text("text,label\nv,a\n")
    (tmp_path / "t.csv").write_text("text,label\nx,a\ny,b\n")
    files = {"validation": "v.csv", "test": "t.csv"}
    for drawn in ({"sample": {"train": 12}}, {"split": {"per_class": 4}}):
        splits = load(tmp_path, rows_of(60), **files, **drawn)
        assert {name: len(split) for name, split in splits.items()} == {"train": 12, "validation": 1, "test": 2}
    load(tmp_path, rows_of(60), split_file=tmp_path / "s.json", **files)
    assert not (tmp_path / "s.json").exists()


def test_only_what_is_missing_is_split_off_train(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nx,a\ny,b\n")
    splits = load(tmp_path, rows_of(100), test="t.csv")
    assert {name: len(split) for name, split in splits.items()} == {"train": 90, "validation": 10, "test": 2}
    assert splits["test"].texts == ["x", "y"]


def test_the_split_seed_moves_rows_and_the_same_seed_does_not(tmp_path):
    first, again, other = (load(tmp_path, rows_of(200), split_seed=seed) for seed in (0, 0, 1))
    hashes = [split_hash(splits["test"]) for splits in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_label_with_one_row_goes_to_train(tmp_path):
    splits = load(tmp_path, [*rows_of(60), ("only", "z")])
    assert "z" in splits["train"].labels
    assert len(splits["test"]) == round(0.2 * 61)


@pytest.mark.parametrize("own_ids", [False, True])
def test_equal_texts_never_fall_into_two_splits(tmp_path, own_ids):
    rows = [
        (f"  text {i % 50}" if i % 2 else f"text {i % 50} ", "ab"[i // 50 % 2], f"row-{i}-{i % 7}") for i in range(200)
    ]
    splits = load(tmp_path, rows, Task(name="t", id="key" if own_ids else None), columns=("text", "label", "key"))
    seen = [{text.strip() for text in split.texts} for split in splits.values()]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]


def test_groups_stay_together(tmp_path):
    rows = [(f"text {i}", "ab"[i % 2], f"user {i // 4}") for i in range(200)]
    task = Task(name="t", metadata=["user"])
    splits = load(tmp_path, rows, task, columns=("text", "label", "user"), split={"group": "user"})
    users = [set(split.meta["user"]) for split in splits.values()]
    assert not users[0] & users[1] | users[0] & users[2] | users[1] & users[2]
    assert len(splits["test"]) == 40


def test_a_split_column_names_the_splits_in_any_case(tmp_path):
    rows = [("a", "x", "Train"), ("b", "y", "DEV"), ("c", "x", "test"), ("d", "y", "train")]
    splits = load(tmp_path, rows, columns=("text", "label", "part"), split_column="part")
    assert {name: split.texts for name, split in splits.items()} == {
        "train": ["a", "d"], "validation": ["b"], "test": ["c"],
    }  # fmt: skip
    assert list(splits["train"].row_numbers) == [1, 4]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("train", "train"), ("training", "train"), ("TEST", "test"), (" validation ", "validation"),
        ("valid", "validation"), ("val", "validation"), ("dev", "validation"),
    ],
)  # fmt: skip
def test_a_split_has_several_names_in_a_column(tmp_path, value, name):
    rows = [("a", "x", "train"), ("b", "y", value)]
    splits = load(
        tmp_path, rows, columns=("text", "label", "part"), split_column="part", split={"validation": 0, "test": 0}
    )
    assert splits[name].texts[-1] == "b"


def test_other_values_of_a_split_column_are_listed_with_their_rows(tmp_path):
    rows = [("a", "x", "train"), ("b", "y", "holdout"), ("c", "x", "")]
    with pytest.raises(DataError, match=r"'holdout' in rows 2; '' in rows 3; allowed: train, validation"):
        load(tmp_path, rows, columns=("text", "label", "part"), split_column="part")


def test_a_cell_that_is_missing_in_a_split_column_names_no_split(tmp_path):
    pl.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "part": ["train", None]}).write_parquet(
        tmp_path / "a.parquet"
    )
    data = Data.model_validate({"train": "a.parquet", "split_column": "part"})
    with pytest.raises(DataError, match="names no split: '' in rows 2; allowed"):
        load_splits(TASK, data, base=tmp_path)


def test_what_a_split_column_does_not_name_is_made_from_its_train_rows(tmp_path):
    rows = [(f"text {i // 2}", "ab"[i // 2 % 2], ["test", "train"][i // 2 % 5 > 0]) for i in range(200)]
    splits = load(tmp_path, rows, columns=("text", "label", "part"), split_column="part")
    assert {name: len(split) for name, split in splits.items()} == {"train": 144, "validation": 16, "test": 40}
    assert not set(splits["train"].texts) & set(splits["validation"].texts)


def test_a_split_column_without_train_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv: no row of column 'part' says train"):
        load(tmp_path, [("a", "x", "test")], columns=("text", "label", "part"), split_column="part")


def test_a_split_given_twice_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nx,a\n")
    rows = [("a", "x", "train"), ("c", "x", "test")]
    with pytest.raises(ConfigError, match="test is given twice"):
        load(tmp_path, rows, columns=("text", "label", "part"), split_column="part", test="t.csv")


def test_per_class_takes_k_train_rows_of_each_label(tmp_path):
    splits = load(tmp_path, rows_of(120), split={"per_class": 5})
    assert Counter(splits["train"].labels) == {"a": 5, "b": 5, "c": 5}
    assert len(splits["test"]) == 24
    with pytest.warns(AdjudgeWarning, match=r"'a' has 14 train rows, fewer than per_class: 20"):
        few = load(tmp_path, rows_of(120), split={"per_class": 20})
    assert Counter(few["train"].labels) == {"a": 14, "b": 20, "c": 20}


def test_a_sample_is_stratified_and_never_larger_than_its_split(tmp_path):
    splits = load(tmp_path, rows_of(600), sample={"train": 60, "test": 12})
    assert Counter(splits["train"].labels) == {"a": 10, "b": 20, "c": 30}
    assert Counter(splits["test"].labels) == {"a": 2, "b": 4, "c": 6}
    with pytest.raises(DataError, match="train has 420 rows, fewer than the 421 asked for"):
        load(tmp_path, rows_of(600), sample={"train": 421})


@pytest.mark.parametrize(
    ("rows", "plan", "message"),
    [(10, {"test": 10}, "leaves none of 10 rows for train"), (3, {"stratify": True}, "no rows come into")],
)
def test_a_plan_that_cannot_be_kept_is_an_error(tmp_path, rows, plan, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path, rows_of(rows, "abc"), split=plan)


def test_the_hash_follows_content_and_not_the_order_of_rows():
    split = Split("test", ["b", "a"], ["x", None], ["1", "2"])
    # As runs that were made before have it.
    assert split_hash(split) == "b8ae532d8a463094b7b4647de5f04a32d67b4c35543cf9b05b5dc030edb75cbd"
    assert split_hash(split) == split_hash(split.take([1, 0]))
    changed = [
        Split("test", ["b", "c"], ["x", None], ["1", "2"]),
        Split("test", ["b", "a"], ["x", "y"], ["1", "2"]),
        Split("test", ["b", "a"], ["x", None], ["1", "3"]),
        Split("test", ["b", "a"], ["x", ""], ["1", "2"]),
    ]
    assert len({split_hash(item) for item in [split, *changed]}) == 5


def test_labels_come_from_the_task_in_its_order_else_sorted_from_train():
    train = Split("train", ["a", "b", "c"], ["y", "x", None], ["1", "2", "3"])
    assert label_set(TASK, train) == ("x", "y")
    assert label_set(Task.model_validate({"name": "t", "labels": ["z", "y"]}), train) == ("z", "y")


def test_labels_that_train_lacks_are_named_with_their_rows():
    train = Split("train", ["a", "b"], ["x", "y"], ["1", "2"], source="a.csv")
    test = Split("test", ["a", "b", "c"], ["z", "x", "z"], ["1", "2", "3"], row_numbers=[4, 5, 9], source="t.csv")
    with pytest.raises(DataError, match=r"t\.csv: test holds the label 'z' \(2 rows: 4, 9\).*allowed: 'x', 'y'"):
        validate_labels({"train": train, "test": test}, ("x", "y"))
    validate_labels({"train": train}, ("x", "y"))


@pytest.mark.parametrize(
    ("n", "further"), [(10, None), (11, "further"), (13, "holds 3 further labels outside the set")]
)
def test_of_many_unknown_labels_ten_are_named(n, further):
    train = Split("train", ["a", "b"], ["x", "y"], ["1", "2"])
    test = Split("test", ["a"] * n, [f"z{i}" for i in range(n)], [str(i) for i in range(n)])
    with pytest.raises(DataError) as caught:
        validate_labels({"train": train, "test": test}, ("x", "y"))
    assert len(caught.value.problems) == 10 + bool(further)
    assert (further or "z9") in caught.value.problems[-1]


@pytest.mark.parametrize(("n", "shown"), [(10, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10)"), (11, "9, 10, …)")])
def test_of_many_rows_ten_are_shown(n, shown):
    train = Split("train", ["a", "b"], ["x", "y"], ["1", "2"])
    test = Split("test", ["a"] * n, ["z"] * n, [str(i) for i in range(n)])
    with pytest.raises(DataError) as caught:
        validate_labels({"train": train, "test": test}, ("x", "y"))
    assert shown in str(caught.value)


def test_one_class_only_is_an_error():
    with pytest.raises(DataError, match=r"one class only \('x'\)"):
        validate_labels({"train": Split("train", ["a", "b"], ["x", None], ["1", "2"])}, ("x", "y"))
    with pytest.raises(DataError, match="train holds no labels at all;"):
        validate_labels({"train": Split("train", ["a", "b"], [None, None], ["1", "2"])}, ("x", "y"))


def test_missing_labels_are_left_to_the_gate():
    splits = {name: Split(name, ["a", "b", "c"], ["x", "y", None], ["1", "2", "3"]) for name in ("train", "test")}
    validate_labels(splits, ("x", "y"))


def test_rows_with_several_labels_are_stratified_by_their_rarest(tmp_path):
    cells = ["common" if i % 2 else f"common|{'rare' if i % 8 == 0 else 'middle'}" for i in range(160)]
    frame = pl.DataFrame({"text": [f"text number {i}" for i in range(160)], "label": cells})
    frame.write_csv(tmp_path / "train.csv")
    task = Task(name="t", problem="multi_label")
    data = Data.model_validate({"train": "train.csv", "split": {"validation": 0.25, "test": 0.25}})
    splits = load_splits(task, data, base=tmp_path)
    counts = {
        name: Counter(label for cell in split.labels for label in cell.split("|")) for name, split in splits.items()
    }
    assert {name: found["rare"] for name, found in counts.items()} == {"train": 10, "validation": 5, "test": 5}
    assert {name: found["middle"] for name, found in counts.items()} == {"train": 30, "validation": 15, "test": 15}
    assert label_set(task, splits["train"]) == ("common", "middle", "rare")


def test_a_label_that_is_rare_in_every_set_is_divided_too(tmp_path):
    cells = [f"common {i % 8}" for i in range(160)] + [f"common {i}|rare" for i in range(8)]
    rows = [(f"text {i}", cell) for i, cell in enumerate(cells)]
    task = Task(name="t", problem="multi_label")
    splits = load(tmp_path, rows, task, split={"validation": 0.25, "test": 0.25})
    counts = {name: sum("rare" in cell for cell in split.labels) for name, split in splits.items()}
    assert counts == {"train": 4, "validation": 2, "test": 2}


def test_rows_for_each_label_are_no_number_where_a_row_has_several(tmp_path):
    data = Data.model_validate({"train": "train.csv", "split": {"per_class": 3}})
    with pytest.raises(ConfigError, match="per_class: a row of a multi-label task counts for several"):
        load_splits(Task(name="t", problem="multi_label"), data, base=tmp_path)


def test_unknown_labels_inside_sets_and_inner_nodes_are_named():
    rows = Split("train", ["a", "b", "c"], ["x|y", "y|z", "(none)"], ["1", "2", "3"], source="train.csv")
    with pytest.raises(DataError, match=r"the label 'z' \(1 rows: 2\)"):
        validate_labels({"train": rows}, ("x", "y"), Problem(kind="multi_label"))
    validate_labels({"train": rows}, ("x", "y", "z"), Problem(kind="multi_label"))
    tree = Split("train", ["a", "b"], ["x", "x > y"], ["1", "2"], source="train.csv")
    with pytest.raises(DataError, match="'x' ends at an inner node"):
        validate_labels({"train": tree}, ("x", "x > y"), Problem(kind="hierarchical"))
