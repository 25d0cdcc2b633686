import json
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.split_rows import load, placed

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.task import Task
from adjudge.data.units import Units, unit_names

PEOPLE = Task(name="t", metadata=["user"])
COLUMNS = ("text", "label", "user")
AT_USER = {"split": {"group": "user", "stratify": False}}


def shared(splits):
    """Groups and texts that are in two splits; a text of white space is none."""
    held = [
        {*(f"user {user}" for user in split.meta["user"] if user), *(" ".join(text.split()) for text in split.texts)}
        for split in splits.values()
    ]
    return {key for i, keys in enumerate(held) for other in held[:i] for key in keys & other if key}


def test_equal_texts_of_different_groups_bring_the_groups_into_one_split(tmp_path):
    rows = [(f"text {i}", "a", f"user {i // 4}") for i in range(200)]
    rows += [(f"shared {i}", "a", f"user {i + step}") for i in range(0, 40, 2) for step in (0, 1)]
    splits = load(tmp_path, rows, PEOPLE, columns=COLUMNS, **AT_USER)
    assert not shared(splits)
    assert {name: len(split) for name, split in splits.items()} == {"train": 168, "validation": 24, "test": 48}
    plain = load(tmp_path, rows, PEOPLE, columns=COLUMNS, split={"stratify": False})
    assert any(key.startswith("user") for key in shared(plain))


def test_rows_without_a_text_or_without_a_group_join_no_groups(tmp_path):
    rows = [(f"text {i}", "a", f"user {i}") for i in range(40)] + [(" ", "a", f"user {i}") for i in range(40)]
    rows += [(f"own {i}", "a", "") for i in range(20)]
    splits = load(tmp_path, rows, PEOPLE, columns=COLUMNS, **AT_USER)
    assert not shared(splits)
    assert all(any(text.startswith("own") for text in split.texts) for split in splits.values())
    assert {name: len(split) for name, split in splits.items()} == {"train": 70, "validation": 10, "test": 20}


def test_groups_that_are_too_large_are_named_with_their_size(tmp_path):
    rows = [(f"text {i}", "a", f"user {i // 4}") for i in range(40)] + [("hello", "a", f"user {i}") for i in range(10)]
    with pytest.raises(DataError, match=r"no rows come into validation.*equal texts join groups; .* has 50 rows\)"):
        load(tmp_path, rows, PEOPLE, columns=COLUMNS, **AT_USER)
    rows = [*rows[:-4], *((f"more {i}", "a", f"user {i}") for i in range(2))]
    plan = {"split": {**AT_USER["split"], "validation": 0}}
    with pytest.warns(AdjudgeWarning, match=r"test gets 8 rows, not the 10 asked for: .* has 32 rows\)"):
        load(tmp_path, rows, PEOPLE, columns=COLUMNS, **plan)


STAGES = st.lists(st.tuples(st.sampled_from("pqrstuvw"), st.sampled_from(["", *"ABCDEFGH"])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(STAGES, STAGES, st.randoms(use_true_random=False))
def test_appended_rows_of_groups_move_no_old_row_and_connect_no_splits(first, second, shuffle):
    rows = [(f"text {i}", "a", f"{'ABCDEFGH'[i % 8]}{i % 3}") for i in range(48)]
    stages = [rows]
    for stage in (first, second):
        stages.append([(text, "a", f"{user}{i % 3}" if user else "") for i, (text, user) in enumerate(stage)])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = Path(folder) / "split.json"
        before = {}
        for i in range(3):
            splits = load(
                folder, [row for stage in stages[: i + 1] for row in stage], PEOPLE, kept, COLUMNS, **AT_USER
            )
            assert not shared(splits)
            after = placed(splits)
            assert {row_id: after.get(row_id) for row_id in before} == before
            before = after
        mixed = shuffle.sample(rows := [row for stage in stages for row in stage], len(rows))
        assert placed(load(folder, mixed, PEOPLE, kept, COLUMNS, **AT_USER)) == before


def test_a_new_row_that_would_connect_two_splits_is_left_out_and_stays_out(tmp_path):
    rows = [(f"text {i}", "a", f"user {i // 4}") for i in range(80)]
    splits = load(tmp_path, rows, PEOPLE, tmp_path / "s.json", COLUMNS, **AT_USER)
    text, user = splits["test"].texts[0], splits["train"].meta["user"][0]
    more = [*rows, (text, "a", user), ("fresh", "a", user), (text, "a", "somebody")]
    with pytest.warns(AdjudgeWarning, match="^1 new rows are left out: with their text in one split and their group"):
        grown = load(tmp_path, more, PEOPLE, tmp_path / "s.json", COLUMNS, **AT_USER)
    assert {name: len(split) for name, split in grown.items()} == {"train": 57, "validation": 8, "test": 17}
    assert "fresh" in grown["train"].texts
    assert "somebody" in grown["test"].meta["user"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert placed(load(tmp_path, more, PEOPLE, tmp_path / "s.json", COLUMNS, **AT_USER)) == placed(grown)


def test_old_rows_of_a_group_in_two_splits_stay_and_new_ones_follow_what_is_clear(tmp_path):
    rows = [(f"text {i}", "a", f"user {i // 4}") for i in range(80)]
    kept = tmp_path / "s.json"
    splits = load(tmp_path, rows, PEOPLE, kept, COLUMNS, **AT_USER)
    # As it was made when groups alone were kept together: one text on both sides.
    saved = json.loads(kept.read_text())
    entry = next(iter(saved["splits"].values()))
    both = [(splits[name].texts[0], name) for name in ("train", "test")]
    rows = [("hello" if text in dict(both) else text, label, user) for text, label, user in rows]
    ids = {name: split.row_ids for name, split in load(tmp_path, rows, PEOPLE, None, COLUMNS, **AT_USER).items()}
    hello = sorted(row_id for row_ids in ids.values() for row_id in row_ids if row_id.endswith("-1"))
    assert len(hello) == 1
    first = hello[0].removesuffix("1") + "0"
    for row_id, (text, name) in zip((first, *hello), both, strict=True):
        old = splits[name].row_ids[splits[name].texts.index(text)]
        entry[name]["row_ids"] = [row_id if known == old else known for known in entry[name]["row_ids"]]
    kept.write_text(json.dumps(saved))
    users = {name: splits[name].meta["user"][0] for name in ("train", "test")}
    more = [*rows, *((f"more of {user}", "a", user) for user in users.values())]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grown = load(tmp_path, more, PEOPLE, kept, COLUMNS, **AT_USER)
    assert sum(map(len, grown.values())) == 82
    assert all(f"more of {user}" in grown[name].texts for name, user in users.items())


def test_a_unit_is_named_by_its_first_group_else_by_its_first_text_whatever_the_order():
    rows = [("group:b", "1f"), ("group:a", "2f"), ("3f", "4f"), ("group:b", "2f"), ("5f",), ("4f",)]
    assert unit_names(rows) == ["group:a", "group:a", "3f", "group:a", "5f", "3f"]
    assert unit_names(rows[::-1]) == ["3f", "5f", "group:a", "3f", "group:a", "group:a"]
    assert unit_names([("b",), ("a",), ("b",)]) == ["b", "a", "b"]


def test_long_chains_are_one_unit():
    rows = [(f"group:{i:05}", f"{i:05}") for i in range(3000)] + [
        (f"group:{i:05}", f"{i - 1:05}") for i in range(1, 3000)
    ]
    assert set(unit_names(rows)) == {"group:00000"}
    assert set(unit_names(rows[::-1])) == {"group:00000"}


def test_units_of_one_split_join_and_those_of_two_do_not():
    units = Units()
    assert units.join(["group:a"], "train")
    assert units.join(["group:b"], "test")
    assert units.join(["group:c", "1f"])
    assert units.split("1f") is None
    assert not units.join(["group:a", "group:b"])
    assert units.join(["group:a", "1f"])
    assert units.split("group:c") == "train"
    assert not units.join(["group:b", "1f", "2f"], "test")
    assert (units.split("group:b"), units.split("1f"), units.split("2f")) == ("test", "train", "test")
    assert units.name("2f") == "2f"
