"""What files are, by their content; and the task that `init` writes for them."""

from __future__ import annotations

import json

import polars as pl
import pytest

from adjudge.core.errors import DataError
from adjudge.core.task import Source, load_task
from adjudge.data.files.headers import looks_like_data
from adjudge.data.splits import load_splits
from adjudge.recipe.recognise import recognise
from adjudge.recipe.starter import write_starter

TEXTS = [f"the {'room' if i % 2 else 'film'} number {i} was quite {'dull' if i % 3 else 'fine'}" for i in range(60)]
LABELS = ["pos" if i % 2 else "neg" for i in range(60)]
PAIRS = list(zip(TEXTS, LABELS, strict=True))


def started(tmp_path, name, content, **options):
    """The starter, the task that was written, and its rows as a run would read them."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    words = {key: options.pop(key) for key in ("text", "label", "names") if key in options}
    starter = write_starter(Source(path=str(path), **options), folder=tmp_path / "out", **words)
    task = load_task(starter.task)
    return starter, task, load_splits(task, task.data, base=starter.task.parent)


def rows(splits):
    found = [(text, label) for split in splits.values() for text, label in zip(split.texts, split.labels, strict=True)]
    return sorted(found)


CLASSES = [str(1 + i % 4) for i in range(60)]


def test_a_first_row_of_data_is_kept_and_said(tmp_path):
    content = "".join(f'"{number}","{text}","More: {text}"\r\n' for number, text in zip(CLASSES, TEXTS, strict=True))
    starter, task, splits = started(tmp_path, "train.csv", content)
    assert starter.rows == sum(map(len, splits.values())) == 60
    assert task.data.train.header is False
    assert (task.text, task.label) == ("column_3", "column_1")
    assert "the first row looks like data ('1' is also a value of its column)" in starter.notes[0]
    assert "'column_2' could be text too" in starter.notes[1]
    starter, task, _ = started(tmp_path, "two.csv", content, text=["column_2", "column_3"])
    assert task.text == ["column_2", "column_3"]


def test_class_numbers_take_their_names_from_a_file(tmp_path):
    (tmp_path / "classes.txt").write_text("World\nSports\nBusiness\nSci/Tech\n")
    content = "label,text\n" + "".join(f'{number},"{text}"\n' for number, text in zip(CLASSES, TEXTS, strict=True))
    starter, _, _ = started(tmp_path, "a.csv", content)
    assert starter.notes == (
        f"the labels are numbers; classes.txt may hold their names: --names {tmp_path}/classes.txt",
    )
    starter, task, splits = started(tmp_path, "b.csv", content, names=tmp_path / "classes.txt")
    assert starter.labels == tuple(task.labels) == ("World", "Sports", "Business", "Sci/Tech")
    names = dict(zip("1234", starter.labels, strict=True))
    assert rows(splits) == sorted(zip(TEXTS, [names[number] for number in CLASSES], strict=True))


def test_several_labels_in_a_cell_make_the_task_multi_label(tmp_path):
    cells = [["17", "3", "17,3"][i % 3] for i in range(60)]
    content = "".join(f"{text}\t{cell}\tid{i:05}\n" for i, (text, cell) in enumerate(zip(TEXTS, cells, strict=True)))
    starter, task, splits = started(tmp_path, "train.tsv", content)
    assert (starter.rows, starter.labels, starter.several) == (60, ("3", "17"), True)
    assert (task.problem.kind, task.problem.separator) == ("multi_label", ",")
    assert task.data.train.header is False
    assert sum(map(len, splits.values())) == 60
    recipe = starter.recipe.read_text()
    assert "kind: zero_shot" not in recipe
    assert "head: score" in recipe


@pytest.mark.parametrize(
    ("names", "columns", "shows"),
    [
        (["2", "a text"], [["1", "2", "1", "2"], ["b", "c", "d", "e"]], True),
        (["pos", "a text"], [["pos", "neg", "pos", "neg"], ["b", "c", "d", "e"]], True),
        (["id001", "a text"], [["id002", "id003", "id004"], ["b", "c", "d"]], True),
        (["7.5", "a text"], [["1", "2", "3"], ["b", "c", "d"]], True),
        (["2024-01-02", "a text"], [["2024-01-03", "x", "y"], ["b", "c", "d"]], True),
        (["text", "label"], [["b", "c", "d"], ["pos", "neg", "pos"]], False),
        (["How did you like it?", "Rating"], [["b", "c", "d"], ["1", "2", "1"]], False),
        (["0", "1"], [["b", "c", "d"], ["1", "0", "1"]], False),
        (["", "0", "1"], [["0", "1", "2"], ["b", "c", "d"], ["1", "0", "1"]], False),
        (["column_1", "column_2"], [["b", "c", "d"], ["1", "0", "1"]], False),
        (["Q1", "Q2"], [["b", "c", "d"], ["5", "4", "5"]], False),
    ],
)
def test_a_header_looks_like_data_only_where_a_cell_of_it_does(names, columns, shows):
    assert (looks_like_data(names, columns) is not None) == shows


@pytest.mark.parametrize(
    ("name", "content", "source"),
    [
        ("a.txt", "".join(f"{text}@{label}\n" for text, label in PAIRS), {"format": "lines", "delimiter": "@"}),
        ("a.txt", "".join(f"{text}\t{label}\n" for text, label in PAIRS), {"format": "lines", "delimiter": "\t"}),
        ("a.txt", "".join(f"{text};{label}\n" for text, label in PAIRS), {}),
        (
            "a.train",
            "".join(f"{label} {text}\n" for text, label in PAIRS),
            {"format": "lines", "pattern": r"(?P<label>\S+)\s+(?P<text>.*)"},
        ),
        ("a.txt", "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in PAIRS), {}),
        ("a.csv", "sep=;\ntext;label\n" + "".join(f"{text};{label}\n" for text, label in PAIRS), {}),
        ("a.json", "".join(json.dumps({"text": t, "label": b}) + "\n" for t, b in PAIRS), {}),
    ],
)
def test_what_is_unusual_about_a_file_stands_in_the_task_and_the_rows_are_all_there(tmp_path, name, content, source):
    starter, task, splits = started(tmp_path, name, content)
    assert task.data.train.model_dump(exclude_defaults=True, exclude={"path"}) == source
    assert rows(splits) == sorted(PAIRS)
    assert bool(starter.notes) == bool(source)


def test_stray_quotes_are_said_once_and_confirmed_in_the_task(tmp_path):
    lines = [f"{text}\t{label}" for text, label in PAIRS]
    lines[9], lines[13] = f'"{lines[9]}', lines[13].replace("\t", '"\t')
    starter, task, splits = started(tmp_path, "a.tsv", "\n".join(["sentence\tlabel", *lines]))
    assert starter.rows == sum(map(len, splits.values())) == 60
    assert task.data.train.quoting == "none"
    assert len(starter.notes) == 1


def test_a_guessed_encoding_stands_in_the_task(tmp_path):
    content = "text,label\n" + "".join(f"{text} déjà vu,{label}\n" for text, label in PAIRS)
    starter, task, _ = started(tmp_path, "a.csv", content.encode("latin-1"))
    assert task.data.train.encoding == "latin-1"
    assert starter.notes == ("not UTF-8; read as latin-1, inferred from its bytes; look at a few texts",)


def test_splits_of_a_json_file_are_the_splits_of_the_task(tmp_path):
    value = {"train": PAIRS, "val": PAIRS[:10], "test": PAIRS[:20], "oos_train": [["x", "oos"]]}
    starter, task, splits = started(tmp_path, "clinc.json", json.dumps(value))
    assert {name: len(split) for name, split in splits.items()} == {"train": 60, "validation": 10, "test": 20}
    assert task.data.validation.split == "val"
    assert starter.notes == ("the file holds splits (train, val, test); the task takes them as they are",)


def test_texts_and_labels_in_two_files_and_a_folder_of_each_class(tmp_path):
    (tmp_path / "train_labels.txt").write_text("\n".join(LABELS))
    with pytest.raises(DataError, match=r"hold no text and label .*train_labels\.txt beside it may hold the labels"):
        started(tmp_path, "train_text.txt", "\n".join(TEXTS))
    _, _, splits = started(tmp_path, "train_text.txt", "\n".join(TEXTS), label_file=str(tmp_path / "train_labels.txt"))
    assert rows(splits) == sorted(PAIRS)
    for i, (text, label) in enumerate(PAIRS):
        (tmp_path / "corpus" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / label / f"{i}.txt").write_text(text)
    starter = write_starter(tmp_path / "corpus", folder=tmp_path / "out")
    task = load_task(starter.task)
    assert rows(load_splits(task, task.data, base=starter.task.parent)) == sorted(PAIRS)


def test_what_the_user_says_is_not_looked_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("2,a text\n1,b text\n2,c text\n1,d text\n")
    assert recognise(Source(path=str(path))).frame.height == 4
    assert recognise(Source(path=str(path), header=1)).frame.height == 3
    _, task, _ = started(
        tmp_path,
        "b.csv",
        "2,a long text\n" + "".join(f"1,b text {i}\n2,c text {i}\n" for i in range(30)),
        header=1,
        label="2",
    )
    assert task.data.train.header == 1
    assert task.data.train.header is not True


def test_bad_rows_that_may_be_left_out_are_said(tmp_path):
    content = "text,label\n" + "".join(f"{text},{label}\n" for text, label in PAIRS) + "one,two,three\n"
    with pytest.raises(DataError, match="line 62: 3 cells"):
        started(tmp_path, "a.csv", content)
    starter, task, _ = started(tmp_path, "a.csv", content, skip_bad_rows=5)
    assert starter.rows == 60
    assert task.data.train.skip_bad_rows == 5
    assert "1 row that cannot be read is left out: line 62" in starter.notes[0]


def test_a_workbook_without_a_header_keeps_its_first_row(tmp_path):
    pl.DataFrame(PAIRS, orient="row").write_excel(tmp_path / "a.xlsx", include_header=False, autofit=False)
    starter = write_starter(tmp_path / "a.xlsx", folder=tmp_path / "out")
    assert (starter.rows, starter.text, starter.label) == (60, "column_1", "column_2")
