"""Folders of text files: one folder for each class."""

from __future__ import annotations

import pytest

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.readers import iter_tables, local_files, read_table


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


FILES = {"a/pos/2.txt": "good\nfilm", "a/pos/10.txt": "fine", "a/neg/1.txt": "bad", "a/.hidden/x.txt": "no"}


def test_a_folder_of_each_class_gives_text_label_and_file(tmp_path):
    write(tmp_path, FILES)
    frame = read_table(Source(path="a"), base=tmp_path).frame
    assert frame.rows() == [
        ("bad", "neg", "neg/1.txt"),
        ("fine", "pos", "pos/10.txt"),
        ("good\nfilm", "pos", "pos/2.txt"),
    ]
    assert [len(batch) for batch in iter_tables(Source(path=str(tmp_path / "a")), batch_rows=2)] == [2, 1]
    assert [file.name for file in local_files(Source(path="a"), tmp_path)] == ["1.txt", "10.txt", "2.txt"]


def test_a_folder_of_texts_alone_has_no_label(tmp_path):
    write(tmp_path, {"a/1.txt": "good", "a/2.txt": "bad"})
    assert read_table(Source(path="a"), base=tmp_path).frame.columns == ["text", "file"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/train/pos/1.txt": "x"}, "expected one folder for each class .* found train/pos/1.txt"),
        ({"a/pos/1.txt": "x", "a/readme.txt": "x"}, "expected one folder for each class"),
        ({"a/b.csv": "x"}, r"is a directory; name a file in it \(for example b\.csv\)"),
    ],
)
def test_other_folders_say_what_was_expected(tmp_path, files, message):
    write(tmp_path, files)
    with pytest.raises(DataError, match=message):
        read_table(Source(path="a"), base=tmp_path)


def test_a_file_that_cannot_be_read_is_named_and_may_be_left_out(tmp_path):
    write(tmp_path, {**FILES, "a/neg/2.txt": b"\xe2\x82", "a/neg/3.txt": "b\0"})
    with pytest.raises(DataError, match=r"2 rows cannot be read: neg/2\.txt: .*byte 0xE2.*neg/3\.txt: .*NUL"):
        read_table(Source(path="a"), base=tmp_path)
    with pytest.warns(UserWarning, match="2 rows that cannot be read are left out"):
        assert read_table(Source(path="a", skip_bad_rows=2), base=tmp_path).frame.height == 3
