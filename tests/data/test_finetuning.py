"""Fine-tuning files of other programs: what becomes text, label and task, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from adjudge.core.errors import DataError, UsageError
from adjudge.core.task import load_task
from adjudge.data.finetuning import import_finetuning
from adjudge.data.splits import load_splits


def chat(text: str, label: str, system: str = "Sort it.") -> dict[str, object]:
    turns = [("system", system), ("user", text), ("assistant", label)]
    return {"messages": [{"role": role, "content": content} for role, content in turns if content]}


def write_lines(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def imported(made: object) -> list[tuple[str, str]]:
    return pl.read_ndjson(made.rows_file).select("text", "label").rows()  # type: ignore[attr-defined]


def test_openai_messages_become_a_task_that_loads(tmp_path: Path) -> None:
    rows = [chat(f"good {i} ü", "pos") for i in range(6)] + [chat(f"bad {i}", " neg\n") for i in range(5)]
    made = import_finetuning(write_lines(tmp_path / "my data.jsonl", rows), tmp_path / "out")
    assert (made.rows, made.labels) == (11, ("pos", "neg"))
    assert imported(made)[0] == ("good 0 ü", "pos")
    task = load_task(made.task)
    assert (task.name, task.system, list(task.labels or {})) == ("my-data", "Sort it.", ["pos", "neg"])
    splits = load_splits(task, task.data, base=made.task.parent)
    assert sum(len(split) for split in splits.values()) == 11


def test_openai_completions(tmp_path: Path) -> None:
    rows = [{"prompt": "fine ->", "completion": " pos"}, {"prompt": "poor ->", "completion": " neg"}]
    made = import_finetuning(write_lines(tmp_path / "old.jsonl", rows), tmp_path / "out")
    assert imported(made) == [("fine ->", "pos"), ("poor ->", "neg")]


def test_system_prompts_that_differ_stay_in_the_text(tmp_path: Path) -> None:
    rows = [chat("one", "a", "Shop north."), chat("two", "b", "Shop south.")]
    made = import_finetuning(write_lines(tmp_path / "x.jsonl", rows), tmp_path / "out")
    assert imported(made)[0] == ("Shop north.\none", "a")
    assert load_task(made.task).system is None


def factory(tmp_path: Path, entry: dict[str, object], records: list[dict[str, object]]) -> Path:
    (tmp_path / "rows.json").write_text(json.dumps(records), encoding="utf-8")
    info = tmp_path / "dataset_info.json"
    hub = {"hf_hub_url": "someone/something"}
    info.write_text(json.dumps({"mine": {"file_name": "rows.json", **entry}, "hub": hub}), encoding="utf-8")
    return info


def test_alpaca_rows_share_their_instruction(tmp_path: Path) -> None:
    records = [
        {"instruction": "Which mood?", "input": f"text {i}", "output": ["sad", "glad"][i % 2], "history": []}
        for i in range(4)
    ]
    made = import_finetuning(factory(tmp_path, {}, records), tmp_path / "out")
    assert imported(made)[0] == ("text 0", "sad")
    assert load_task(made.task).instruction == "Which mood?"


def test_alpaca_columns_have_other_names_and_instructions_that_differ(tmp_path: Path) -> None:
    entry = {"columns": {"prompt": "q", "query": "more", "response": "a"}}
    records = [{"q": "Is this good?", "more": "yes it is", "a": "pos"}, {"q": "Or bad?", "more": None, "a": "neg"}]
    made = import_finetuning(factory(tmp_path, entry, records), tmp_path / "out", name="mine")
    assert imported(made) == [("Is this good?\nyes it is", "pos"), ("Or bad?", "neg")]
    assert load_task(made.task).instruction is None


@pytest.mark.parametrize(
    "tags", [{}, {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "bot"}]
)
def test_sharegpt_conversations(tags: dict[str, str], tmp_path: Path) -> None:
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    user, bot = tags.get("user_tag", "human"), tags.get("assistant_tag", "gpt")
    records = [
        {"conversations": [{role: user, content: text}, {role: bot, content: label}], "system": "Judge."}
        for text, label in (("one", "a"), ("two", "b"))
    ]
    info = factory(tmp_path, {"formatting": "sharegpt", "tags": tags}, records)
    made = import_finetuning(info, tmp_path / "out")
    assert imported(made) == [("one", "a"), ("two", "b")]
    assert load_task(made.task).system == "Judge."


def test_conversations_of_several_turns_are_named(tmp_path: Path) -> None:
    long = {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]}
    with pytest.raises(DataError, match=r"row 2: expected one question and one answer, found user, assistant, user"):
        import_finetuning(write_lines(tmp_path / "x.jsonl", [chat("a", "b"), long]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_free_answers_are_no_labels(tmp_path: Path) -> None:
    rows = [chat(f"question {i}", f"a free answer number {i}") for i in range(30)]
    with pytest.raises(DataError, match="30 different answers in 30 rows"):
        import_finetuning(write_lines(tmp_path / "x.jsonl", rows), tmp_path / "out")
    with pytest.raises(DataError, match="1 different answers"):
        import_finetuning(write_lines(tmp_path / "y.jsonl", [chat("a", "b")] * 3), tmp_path / "out")


def test_nothing_is_overwritten_and_an_entry_must_be_there(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "x.jsonl", [chat("one", "a"), chat("two", "b")])
    import_finetuning(file, tmp_path / "out")
    with pytest.raises(UsageError, match="is there already"):
        import_finetuning(file, tmp_path / "out")
    info = factory(tmp_path, {}, [{"instruction": "i", "input": "x", "output": "y"}])
    with pytest.raises(UsageError, match="did you mean 'mine'"):
        import_finetuning(info, tmp_path / "out", name="mime")
    with pytest.raises(DataError, match="only alpaca and sharegpt"):
        import_finetuning(factory(tmp_path, {"formatting": "other"}, []), tmp_path / "other")
