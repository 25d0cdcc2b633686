"""Files that are read line by line: texts and labels on a line, texts alone, two parallel files."""

from __future__ import annotations

import pytest

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.forms import line_form
from adjudge.data.readers import iter_tables, read_table

TEXTS = [f"the {'room' if i % 2 else 'film'} number {i} was {'dull' if i % 3 else 'fine'}" for i in range(30)]
LABELS = ["pos" if i % 2 else "neg" for i in range(30)]


def read(tmp_path, content, name="a.txt", **options):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(Source(path=name, **options), base=tmp_path).frame


FORMS = {
    "text@label": "{0}@{1}",
    "text;label": "{0};{1}",
    "text|label": "{0}|{1}",
    "text, tab, label": "{0}\t{1}",
    "label, tab, text": "{1}\t{0}",
    "label text": "{1} {0}",
    "__label__LABEL text": "__label__{1} {0}",
}


@pytest.mark.parametrize(("shown", "form"), FORMS.items(), ids=FORMS)
def test_the_form_of_lines_is_found_and_reads_them(tmp_path, shown, form):
    lines = [form.format(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    found = line_form(lines)
    assert found is not None
    assert (found.shown, found.labels) == (shown, ("neg", "pos"))
    frame = read(tmp_path, "\n".join(lines), **found.options)
    assert frame.select("text", "label").rows() == list(zip(TEXTS, LABELS, strict=True))


def test_several_labels_and_marked_labels_on_a_line_are_a_form_too():
    lines = [f"__label__a {'__label__b ' if i % 2 else ''}{text}" for i, text in enumerate(TEXTS)]
    assert line_form(lines).labels == ("__label__a", "__label__a __label__b")
    assert line_form([f"NUM:{'x' if i % 2 else 'y'} {text}" for i, text in enumerate(TEXTS)]).shown == "label text"


@pytest.mark.parametrize(
    "lines",
    [
        TEXTS,
        [f"{word} and so on" for word in ["I like it", "I do", "The film", "It was", "What", "It", "We", "No", "The"]],
        [],
    ],
)
def test_plain_texts_have_no_form(lines):
    assert line_form(lines) is None


def test_lines_that_cannot_be_split_say_how_they_look(tmp_path):
    lines = [f"{label} {text}" for text, label in zip(TEXTS, LABELS, strict=True)]
    with pytest.raises(
        DataError, match=r"30 rows cannot be read.*look like `label text`: \{format: lines, pattern: '"
    ):
        read(tmp_path, "\n".join(lines))
    with pytest.raises(DataError, match=r"set `format`: .*look like `label text`"):
        read(tmp_path, "\n".join(lines), "a.train")


def test_lines_may_be_left_out(tmp_path):
    with pytest.warns(UserWarning, match="line 2: 'b' is written otherwise"):
        assert read(tmp_path, "a;x\nb\nc;y\n", skip_bad_rows=1).rows() == [("a", "x"), ("c", "y")]
    with pytest.warns(UserWarning, match="left out"), pytest.raises(DataError, match="no line is left"):
        read(tmp_path, "a\nb\n", skip_bad_rows=2)


@pytest.mark.parametrize("content", ["a; b\n\n c\td\n", "a; b\r\n\r\n c\td", "\ufeffa; b\n\n c\td\n"])
def test_of_texts_alone_every_line_is_a_row(tmp_path, content):
    assert read(tmp_path, content, format="text").rows() == [("a; b",), ("",), (" c\td",)]
    assert [
        len(batch) for batch in iter_tables(Source(path=str(tmp_path / "a.txt"), format="text"), batch_rows=2)
    ] == [
        2,
        1,
    ]


def test_a_carriage_return_alone_ends_lines_only_where_nothing_else_does(tmp_path):
    for content in ("a\rb\r", "a\rb\r\n"):
        assert read(tmp_path, content, format="text").rows() == [("a",), ("b",)]
    assert read(tmp_path, "a\rb\nc\n", format="text").rows() == [("a\rb",), ("c",)]


def test_texts_and_labels_in_two_files(tmp_path):
    (tmp_path / "a.labels").write_text("x\ny \n")
    for batch_rows in (1, 2):
        read(tmp_path, "good; film\nbad\n", label_file="a.labels")
        source = Source(path="a.txt", label_file="a.labels")
        rows = [row for batch in iter_tables(source, base=tmp_path, batch_rows=batch_rows) for row in batch.rows()]
        assert rows == [("good; film", "x"), ("bad", "y")]
    (tmp_path / "a.labels").write_text("x\n")
    with pytest.raises(DataError, match=r"a\.labels: 1 labels for the 2 texts of a\.txt"):
        read(tmp_path, "good\nbad\n", label_file="a.labels")
    with pytest.raises(DataError, match=r"a\.labls: no such file; did you mean 'a\.labels'"):
        read(tmp_path, "good\nbad\n", label_file="a.labls")


def test_a_damaged_line_of_texts_is_never_left_out(tmp_path):
    with pytest.raises(DataError, match="byte 0xE2"):
        read(tmp_path, "é\n".encode() * 9 + b"\xe2\x82\n", format="text", skip_bad_rows=9)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("text\tlabel\ngood; film\tpos\n", [("good; film", "pos")]),
        ('text,label\n"good, film",pos\n', [("good, film", "pos")]),
        ("good\tfilm\tpos\nbad\tfilm\tneg\n", [("bad", "film", "neg")]),
        ("good film;pos\nbad\tfilm;neg\n", [("good film", "pos"), ("bad\tfilm", "neg")]),
    ],
)
def test_a_txt_file_is_a_table_where_it_looks_like_one(tmp_path, content, rows):
    assert read(tmp_path, content).rows() == rows
