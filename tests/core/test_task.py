from pathlib import Path

import pytest

from adjudge.core.config import validate
from adjudge.core.errors import ConfigError
from adjudge.core.task import Data, Source, Task, load_task

MINIMAL = {"name": "reviews"}


def test_a_task_file_of_one_line_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "reviews.yaml"
    file.write_text("name: reviews\n", encoding="utf-8")
    task = load_task(file)
    assert (task.name, task.text_columns, task.label, task.version) == ("reviews", ["text"], "label", 1)
    assert task.labels is None


def test_labels_as_a_list_and_as_a_mapping_mean_the_same() -> None:
    as_list = validate(Task, {**MINIMAL, "labels": ["bad", "good"]}, "x")
    as_mapping = validate(Task, {**MINIMAL, "labels": {"bad": None, "good": {}}}, "x")
    assert as_list.labels == as_mapping.labels
    assert list(as_list.labels or {}) == ["bad", "good"]


def test_a_label_with_a_sentence_gets_it_as_description() -> None:
    task = validate(Task, {**MINIMAL, "labels": {"bad": "unhappy", "good": {"verbalizer": "yes"}}}, "x")
    assert task.labels is not None
    assert task.labels["bad"].description == "unhappy"
    assert task.labels["good"].verbalizer == "yes"


def test_numbers_as_labels_become_words() -> None:
    task = validate(Task, {**MINIMAL, "labels": [0, 1]}, "x")
    assert list(task.labels or {}) == ["0", "1"]


@pytest.mark.parametrize("labels", [["a", "a"], ["1", 1]])
def test_equal_labels_are_refused(labels: list[object]) -> None:
    with pytest.raises(ConfigError, match="labels must differ"):
        validate(Task, {**MINIMAL, "labels": labels}, "x")


def test_yes_and_no_are_labels_and_true_must_be_quoted(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\nlabels: [yes, no]\n", encoding="utf-8")
    assert list(load_task(file).labels or {}) == ["yes", "no"]
    file.write_text("name: x\nlabels: [true, null, 'false', 2024-01-01]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="quotes, as the data has them: True, None, 2024-01-01"):
        load_task(file)


def test_one_label_is_no_task() -> None:
    with pytest.raises(ConfigError, match="at least two labels"):
        validate(Task, {**MINIMAL, "labels": ["only"]}, "x")


@pytest.mark.parametrize("prompt", ["no slot", "{text} and {text}"])
def test_a_prompt_holds_the_text_exactly_once(prompt: str) -> None:
    with pytest.raises(ConfigError, match="exactly once"):
        validate(Task, {**MINIMAL, "prompt": prompt}, "x")


@pytest.mark.parametrize("name", ["../up", "", "a/b", "-x", "x" * 81])
def test_a_name_that_would_leave_the_run_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        validate(Task, {"name": name}, "x")


def test_a_source_may_be_a_plain_string() -> None:
    data = validate(Data, {"train": "train.csv", "test": {"path": "t.tsv", "delimiter": "\t"}}, "x")
    assert data.train == Source.model_validate({"path": "train.csv"})
    assert data.test is not None
    assert data.test.delimiter == "\t"
    assert data.validation is None


@pytest.mark.parametrize("share", [-0.1, -1, 1.5])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="share must lie in 0 to 1"):
        validate(Data, {"train": "t.csv", "split": {"test": share}}, "x")


@pytest.mark.parametrize("share", [0, 0.5, 1000])
def test_shares_and_row_counts_are_allowed(share: float) -> None:
    assert validate(Data, {"train": "t.csv", "split": {"test": share}}, "x").split.test == share


def test_the_hash_is_of_the_meaning_and_not_of_the_place() -> None:
    task = validate(Task, {**MINIMAL, "labels": ["a", "b"]}, "x")
    moved = validate(Task, {**MINIMAL, "labels": ["a", "b"], "data": {"train": "t.csv"}, "description": "d"}, "x")
    reworded = validate(Task, {**MINIMAL, "labels": ["a", "b"], "instruction": "Decide."}, "x")
    assert task.hash() == moved.hash()
    assert task.hash() != reworded.hash()


def test_every_problem_of_a_task_file_is_in_one_message(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("versoin: 2\nmetadata: price\nlabels: [one]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_task(file)
    text = str(caught.value)
    assert "versoin: unknown key; did you mean 'version'?" in text
    assert "metadata: input should be a valid list, got 'price'" in text
    assert "name: missing; it is required" in text
    assert all(problem.startswith(str(file)) for problem in caught.value.problems)


@pytest.mark.parametrize(("pattern", "what"), [("(?P<text>.*", "no regular expression: missing"), (".*", "by groups")])
def test_a_pattern_is_a_regular_expression_with_named_groups(pattern: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        validate(Source, {"path": "a.txt", "format": "lines", "pattern": pattern}, "data.train")


@pytest.mark.parametrize("other", [{}, {"format": "csv"}, {"format": "lines", "delimiter": ";"}])
def test_a_pattern_that_nobody_would_look_at_is_refused(other: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="`pattern` needs `format: lines` and no `delimiter`"):
        validate(Source, {"path": "a.txt", "pattern": "(?P<text>.*)", **other}, "data.train")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"label": ["a"]}, "at least two columns"),
        ({"label": ["a", "a"]}, "at least two columns"),
        ({"label": ["a", "b"], "problem": "hierarchical"}, "several columns hold no paths"),
        ({"label_map": {"a": "b", "b": "c"}}, "'b' stands on both sides"),
        ({"labels": ["a", "b"], "label_map": {"x": "c"}}, "'c' is not one of `labels`"),
        ({"labels": ["a", "b"], "label_map": {"a": "b"}}, "'a' is one of `labels` and would never occur"),
        ({"label_map": {True: "a"}}, "write these labels in quotes"),
        ({"label_map": "a"}, "label_map: input should be a valid dictionary"),
    ],
)
def test_columns_and_maps_of_labels_that_cannot_be_meant_are_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(Task, {"name": "t", **keys}, "task.yaml")


def test_a_map_of_labels_is_part_of_the_meaning_and_an_empty_one_is_not() -> None:
    plain, mapped = Task(name="t"), validate(Task, {"name": "t", "label_map": {1: "a", "b": None}}, "task.yaml")
    assert mapped.label_map == {"1": "a", "b": None}
    assert "label_map" not in plain.model_dump()
    assert plain.hash() == Task(name="t", label_map={}).hash() != mapped.hash()
    assert Task(**mapped.model_dump()) == mapped
