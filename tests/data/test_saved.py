import json
import tempfile
import warnings
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.split_rows import load, placed, rows_of

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Data, Task
from adjudge.data.saved import plan_key
from adjudge.data.splits import split_hash

BOTH = ["validation", "test"]


def plan_data(**data):
    return Data.model_validate({"train": "../data/reviews.csv", **data})


def test_a_plan_has_the_key_that_it_has_always_had():
    """Another key would leave the splits that people have saved behind, and move their rows."""
    assert plan_key(Task(name="t"), Data.model_validate({"train": "../data/a.csv"}), BOTH) == "3a21ca076fe97f70"
    data = {
        "train": {"path": "sqlite:///x.db", "query": "select 1"},
        "split": {"group": "g", "per_class": 3, "validation": 5},
        "split_seed": 7,
        "sample": {"test": 4},
    }
    task = Task(name="t", text=["a", "b"], text_template="{a} {b}", label="l", id="i")
    assert plan_key(task, Data.model_validate(data), ["test"]) == "7cbde6ac713520c0"


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"split_seed": 1}, False),
        ({"split": {"test": 0.3}}, False),
        ({"split": {"group": "author"}}, False),
        ({"sample": {"test": 5}}, False),
        ({"split_column": "part"}, False),
        ({"train": "others.csv"}, False),
        ({"train": {"path": "reviews.csv", "delimiter": ";"}}, False),
        ({"train": "/elsewhere/reviews.csv"}, True),
        ({"accept": ["overlap"]}, True),
    ],
)
def test_what_a_split_depends_on_tells_plans_apart_and_the_folder_does_not(changed, same):
    assert (
        plan_key(Task(name="t"), plan_data(**changed), BOTH) == plan_key(Task(name="t"), plan_data(), BOTH)
    ) == same


def test_the_columns_and_the_splits_to_make_tell_plans_apart():
    tasks = [Task(name="t"), Task(name="t", text="a"), Task(name="t", label="a"), Task(name="t", id="a")]
    tasks.append(Task(name="t", text_template="{text}"))
    assert len({plan_key(task, plan_data(), BOTH) for task in tasks}) == 5
    assert len({plan_key(Task(name="t"), plan_data(), makes) for makes in ([], ["test"], BOTH)}) == 3
    assert plan_key(Task(name="another"), plan_data(), BOTH) == plan_key(Task(name="t"), plan_data(), BOTH)


def test_the_split_file_holds_row_ids_and_hashes_for_each_plan(tmp_path):
    kept = tmp_path / "split.json"
    splits = load(tmp_path, rows_of(60), split_file=kept, sample={"train": 12})
    other = load(tmp_path, rows_of(60), split_file=kept, split_seed=1)
    saved = json.loads(kept.read_text())
    assert list(saved) == ["format", "splits"]
    assert saved["format"] == 1
    first, second = saved["splits"].values()
    assert set(first) == {"train", "validation", "test", "left_out"}
    for name, split in splits.items():
        assert first[name] == {"hash": split_hash(split), "rows": len(split), "row_ids": split.row_ids}
    everything = load(tmp_path, rows_of(60), split={"test": 0, "validation": 0})["train"].row_ids
    assert first["left_out"] == [row_id for row_id in everything if row_id not in placed(splits)]
    assert len(first["left_out"]) == 30
    assert second["test"]["row_ids"] == other["test"].row_ids
    assert second["left_out"] == []
    assert str(tmp_path) not in kept.read_text()


def test_appended_rows_are_added_to_the_file_and_rows_that_are_gone_stay_in_it(tmp_path):
    kept = tmp_path / "split.json"
    plan = {"sample": {"validation": 3}}
    first = load(tmp_path, rows_of(60), split_file=kept, **plan)
    before = next(iter(json.loads(kept.read_text())["splits"].values()))
    with pytest.warns(AdjudgeWarning, match="are no longer in the data"):
        second = load(tmp_path, rows_of(120)[20:], split_file=kept, **plan)
    after = next(iter(json.loads(kept.read_text())["splits"].values()))
    assert set(after) == {"train", "validation", "test", "left_out"}
    for name in ("train", "test"):
        new = [row_id for row_id in second[name].row_ids if row_id not in first[name].row_ids]
        row_ids = [*first[name].row_ids, *new]
        assert after[name] == {"hash": split_hash(second[name]), "rows": len(row_ids), "row_ids": row_ids}
        assert len(new) > 5
    assert after["validation"] == before["validation"]
    assert after["left_out"][:3] == before["left_out"]
    assert len(after["left_out"]) > 3
    assert sum(after[name]["rows"] for name in ("train", "validation", "test")) + len(after["left_out"]) == 120


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.text("abc ", min_size=1, max_size=4), st.sampled_from("xy")), min_size=12, max_size=60),
    st.lists(st.tuples(st.text("abcd ", min_size=1, max_size=4), st.sampled_from("xyz")), max_size=30),
    st.randoms(use_true_random=False),
)
def test_appended_or_shuffled_rows_never_move_an_old_row(rows, more, shuffle):
    rows = [(f"row {text} {i % 20}", label) for i, (text, label) in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "split.json"
        before = load(folder, rows, split_file=kept)
        saved = kept.read_bytes()
        assert placed(load(folder, rows, split_file=kept)) == placed(before)
        assert kept.read_bytes() == saved
        after = placed(load(folder, rows + more, split_file=kept))
        assert {row_id: after[row_id] for row_id in placed(before)} == placed(before)
        assert len(after) == len(rows) + len(more)
        assert placed(load(folder, shuffle.sample(rows, len(rows)))) == placed(before)
        mixed = shuffle.sample(rows + more, len(rows + more))
        assert placed(load(folder, mixed, split_file=kept)) == after
        kept.write_bytes(saved)
        assert placed(load(folder, mixed, split_file=kept)) == after


def test_appended_copies_of_old_texts_follow_them(tmp_path):
    kept = tmp_path / "split.json"
    before = load(tmp_path, rows_of(60), split_file=kept)
    copies = [(f"  {text}", label) for text, label in rows_of(60)]
    after = load(tmp_path, rows_of(60) + copies, split_file=kept)
    for name, split in after.items():
        assert len(split) == 2 * len(before[name])
        assert {text.strip() for text in split.texts} == set(before[name].texts)


def test_new_rows_go_to_splits_by_share(tmp_path):
    before = load(tmp_path, rows_of(100), split_file=tmp_path / "s.json")
    after = load(tmp_path, rows_of(1100), split_file=tmp_path / "s.json")
    gained = {name: len(after[name]) - len(split) for name, split in before.items()}
    assert sum(gained.values()) == 1000
    assert gained["test"] == pytest.approx(200, abs=50)
    assert gained["validation"] == pytest.approx(100, abs=40)


@pytest.mark.parametrize(
    ("plan", "growing"),
    [
        ({"sample": {"train": 20, "validation": 5}, "split": {"test": 10}}, set()),
        ({"sample": {"train": 20}}, {"validation", "test"}),
        ({"split": {"per_class": 5}}, {"validation", "test"}),
        ({"split": {"test": 1}}, {"train", "validation"}),
        ({"split": {"test": 1, "validation": 1}}, {"train"}),
    ],
)
def test_new_rows_never_come_into_fixed_sizes_and_what_was_left_out_stays_out(tmp_path, plan, growing):
    kept = tmp_path / "f.json"
    before = load(tmp_path, rows_of(100), split_file=kept, **plan)
    assert placed(load(tmp_path, rows_of(100), split_file=kept, **plan)) == placed(before)
    after = load(tmp_path, rows_of(300), split_file=kept, **plan)
    assert {name for name, split in after.items() if len(split) > len(before[name])} == growing
    assert placed(after).items() >= placed(before).items()
    left_out = load(tmp_path, rows_of(100), split={"test": 0, "validation": 0})["train"].row_ids
    assert not {row_id for row_id in left_out if row_id not in placed(before)} & set(placed(after))


def load_with_test(folder, n_rows, n_test, **plan):
    rows = [(f"test {text}", label) for text, label in rows_of(n_test)]
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(folder / "t.csv")
    return load(folder, rows_of(n_rows), test="t.csv", split_file=folder / "s.json", **plan)


def test_a_given_split_that_was_sampled_keeps_its_rows(tmp_path):
    plan = {"sample": {"test": 12}}
    first = load_with_test(tmp_path, 60, 50, **plan)["test"]
    assert load_with_test(tmp_path, 60, 400, **plan)["test"].row_ids == first.row_ids
    with pytest.warns(AdjudgeWarning, match=f"^{len(set(first.texts) - {f'test text {i}' for i in range(20)})} rows "):
        load_with_test(tmp_path, 60, 20, **plan)


def test_a_given_split_that_was_not_sampled_is_what_its_file_holds(tmp_path):
    first = load_with_test(tmp_path, 60, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = load_with_test(tmp_path, 160, 20)
    assert [len(split) for split in (first["test"], second["test"])] == [50, 20]
    assert len(second["train"]) + len(second["validation"]) == 160
    assert sum(map(len, load_with_test(tmp_path, 160, 400).values())) == 560


def test_rows_that_vanished_are_counted_in_a_warning(tmp_path):
    load(tmp_path, rows_of(60), split_file=tmp_path / "s.json")
    with pytest.warns(AdjudgeWarning, match="^10 rows of the saved split are no longer in the data"):
        load(tmp_path, rows_of(50), split_file=tmp_path / "s.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable split file"),
        ("[]", "not a readable split file"),
        ('{"splits": {}}', "not a readable split file"),
        ('{"format": 2, "splits": {}}', "of another format; delete it to split anew"),
        ('{"format": 1, "splits": []}', "of another format; delete it to split anew"),
    ],
)
def test_a_damaged_split_file_is_an_error_and_stays(tmp_path, content, message):
    kept = tmp_path / "s.json"
    kept.write_text(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path, rows_of(60), split_file=kept)
    assert kept.read_text() == content


def test_no_warning_in_the_ordinary_case(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(tmp_path, rows_of(60), split_file=tmp_path / "s.json")
        load(tmp_path, rows_of(60), split_file=tmp_path / "s.json")
    assert not caught
