"""Folders of text files: one folder for each class, or one of texts alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from adjudge.core.errors import DataError
from adjudge.core.task import Source
from adjudge.data.files.bad_rows import BadRows
from adjudge.data.files.encodings import find_encoding, open_text

SUFFIXES = (".txt", ".text", "")
_SHOWN = 5


def text_files(folder: Path) -> list[Path]:
    """The text files of a folder and of the folders in it, sorted; hidden ones and those of the system left out."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
    return sorted(file for file in files if not any(part[:1] in "._" for part in file.relative_to(folder).parts))


def classes_of(folder: Path) -> list[str]:
    """The folders in a folder that hold text files, each a class; empty where they lie in the folder itself."""
    return sorted({parts[0] for file in text_files(folder) if len(parts := file.relative_to(folder).parts) > 1})


def read_folder_batches(path: Path, source: Source, encoding: None, batch_rows: int) -> Iterator[pl.DataFrame]:
    """The files of a folder as rows: ``text``, ``label`` (the folder that a file is in) and ``file``.

    Where the files lie in the folder itself there is no ``label``.

    Raises:
        DataError: no text files, some beside folders of classes, folders inside the classes, or more files than
            `Source.skip_bad_rows` allows that cannot be read.

    Warns:
        AdjudgeWarning: files are left out.
    """
    del encoding
    files = text_files(path)
    if not files:
        raise DataError(f"{path.name}: has no text files (*.txt), neither in it nor in folders of classes")
    depths = {len(file.relative_to(path).parts) for file in files}
    if len(depths) > 1 or max(depths) > 2:
        shown = ", ".join(file.relative_to(path).as_posix() for file in files[:_SHOWN])
        raise DataError(
            f"{path.name}: expected one folder for each class with text files in it, found {shown}, …; name the "
            "folder that holds the classes"
        )
    bad = BadRows(path.name, source.skip_bad_rows)
    rows: list[tuple[str, str, str]] = []
    for file in files:
        try:
            found = find_encoding(file, source.encoding)
            with open_text(file, found) as stream:
                rows.append((stream.read(), file.parent.name, file.relative_to(path).as_posix()))
        except DataError as error:
            bad.add(file.relative_to(path).as_posix(), str(error))
    bad.conclude("correct the files, or name their `encoding`")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("text", "label", "file"), pl.String), orient="row")
    yield from (frame if max(depths) > 1 else frame.drop("label")).iter_slices(batch_rows)
