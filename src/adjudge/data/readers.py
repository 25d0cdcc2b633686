"""The table of formats, and the one way in: a source becomes a table, or a stream of batches.

Adding a format is one function ``(path, source, encoding, batch_rows) -> batches`` and one line in `FORMATS`.
"""

from __future__ import annotations

import difflib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from adjudge.core.errors import AdjudgeWarning, DataError, did_you_mean
from adjudge.core.secrets import is_variable
from adjudge.core.task import Source
from adjudge.data import embedded, hub, sql
from adjudge.data.files import class_folders, columnar, delimited, excel, json_rows, text_lines
from adjudge.data.files.encodings import Encoding, find_encoding, open_binary
from adjudge.data.files.formats import text_format

BATCH_ROWS = 50_000


_MAGIC = (
    (b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow"), (b"PK\x03\x04", "excel"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "excel"),
)  # fmt: skip
_PACKED = ((b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "Zstandard"), (b"7z\xbc\xaf", "7z"))


@dataclass(frozen=True)
class Table:
    """A source's rows, all columns as read; row numbers are implied: the 1-based data records, in order.

    Attributes:
        frame: the columns. Cells of text formats are strings as written; typed formats keep their types.
        name: base name of the file or the hub id; never an absolute path.
        encoding: of a text file, else None.
        encoding_guessed: whether the encoding was inferred (no UTF-8, no byte-order mark, none declared).
    """

    frame: pl.DataFrame
    name: str
    encoding: str | None = None
    encoding_guessed: bool = False


@dataclass(frozen=True)
class _Format:
    batches: Callable[..., Iterator[pl.DataFrame]]  # (path, source, encoding or None, batch_rows)
    suffixes: tuple[str, ...]
    is_text: bool
    takes: tuple[str, ...] = ()  # what its reader wants to know besides: role, strict


FORMATS: dict[str, _Format] = {
    "csv": _Format(delimited.read_batches, (".csv",), is_text=True, takes=("strict",)),
    "tsv": _Format(delimited.read_batches, (".tsv", ".tab"), is_text=True, takes=("strict",)),
    "lines": _Format(text_lines.read_line_batches, (".txt",), is_text=True),
    "text": _Format(text_lines.read_text_batches, (), is_text=True),
    "json": _Format(json_rows.read_json_batches, (".json",), is_text=True, takes=("role",)),
    "jsonl": _Format(json_rows.read_jsonl_batches, (".jsonl", ".ndjson"), is_text=True),
    "parquet": _Format(columnar.read_parquet_batches, (".parquet", ".pq"), is_text=False),
    "arrow": _Format(columnar.read_arrow_batches, (".arrow", ".feather", ".ipc"), is_text=False),
    "excel": _Format(excel.read_excel_batches, (".xlsx", ".xlsm", ".xls", ".ods"), is_text=False),
    "folders": _Format(class_folders.read_folder_batches, (), is_text=False),
}


def read_table(source: Source, *, base: Path | None = None, role: str = "train") -> Table:
    """Read a source whole.

    Args:
        source: a file, a folder of files by class, ``hf://owner/name[/config]``, ``embedded://name`` or a database
            URL with a query.
        base: folder that relative paths are resolved against; default: the working directory.
        role: the split that is wanted (``train``, ``validation``, ``test``) from a source that has several.

    Raises:
        DataError: nothing there, or nothing that can be read; the message says what and where.
        MissingExtraError: the source needs a package that is not installed.

    Warns:
        AdjudgeWarning: the encoding was guessed, something unusual was found, or rows are left out.
    """
    if source.path.startswith("hf://"):
        table = Table(hub.read(source, role), source.path.removeprefix("hf://"))
    elif source.path.startswith("embedded://"):
        table = Table(embedded.read(source, role), source.path.removeprefix("embedded://"))
    elif "://" in source.path or is_variable(source.path):
        table = Table(*sql.read(source, base))
    else:
        opened = open_source(source, base)
        known = opened.encoding or Encoding("")
        frame = pl.concat(list(opened.batches(BATCH_ROWS, role)))
        return Table(frame, opened.path.name, known.name or None, known.guessed)
    return Table(renamed(table.frame, source, table.name), table.name)


def iter_tables(
    path: Source | Path | str, *, base: Path | None = None, batch_rows: int = 8_192, strict: bool = False
) -> Iterator[pl.DataFrame]:
    """Read a file in batches, in order and with one schema; memory does not grow with CSV, JSON lines or Parquet.

    The other formats are read whole and handed out in batches. A text file is checked as a whole for its encoding
    before the first batch, and so are the rows of CSV, TSV, lines and JSON lines: a broken row stops the work at once.

    Args:
        path: the file, or a source with its options.
        base: folder that relative paths are resolved against.
        batch_rows: most rows in a batch, at least 1.
        strict: whether a file is refused of which it is not settled how many rows it has, by stray quotes.

    Raises:
        DataError: as `read_table`.
    """
    source = path if isinstance(path, Source) else Source(path=str(path))
    if "://" in source.path or is_variable(source.path):
        yield from read_table(source, base=base).frame.iter_slices(batch_rows)
        return
    yield from open_source(source, base).batches(batch_rows, strict=strict)


@dataclass(frozen=True)
class OpenedSource:
    """A file whose format and encoding are known.

    Attributes:
        path: the file or folder.
        source: what is said about it, relative paths resolved.
        format: a name of `FORMATS`.
        encoding: of a text file, else None.
    """

    path: Path
    source: Source
    format: str
    encoding: Encoding | None

    def batches(self, batch_rows: int, role: str | None = None, *, strict: bool = False) -> Iterator[pl.DataFrame]:
        """The rows, at most so many at a time, columns under the task's names.

        Args:
            batch_rows: most rows in a batch.
            role: the split that is wanted of a file that has several.
            strict: whether a file is refused of which it is not settled how many rows it has.
        """
        form = FORMATS[self.format]
        wanted = {name: value for name, value in (("role", role), ("strict", strict)) if name in form.takes}
        for frame in form.batches(self.path, self.source, self.encoding, batch_rows, **wanted):
            yield renamed(frame, self.source, self.path.name)


def open_source(source: Source, base: Path | None = None) -> OpenedSource:
    """Find a file's format and encoding.

    Raises:
        DataError: no such file, an empty one, or one whose format or encoding cannot be told.

    Warns:
        AdjudgeWarning: the encoding was guessed.
    """
    path = resolve(source.path, base)
    if source.label_file is not None:
        source = source.model_copy(update={"label_file": str(resolve(source.label_file, base))})
    if path.is_dir():
        if source.format not in (None, "folders") or not class_folders.text_files(path):
            raise DataError(f"{source.path}: is a directory; name a file in it{_files_in(path)}")
        return OpenedSource(path, source, "folders", None)
    try:
        if not path.stat().st_size:
            raise DataError(f"{path.name}: the file is empty")
        name = source.format or _format_of(path, source)
        if not FORMATS[name].is_text:
            return OpenedSource(path, source, name, None)
        encoding = find_encoding(path, source.encoding, lenient=source.skip_bad_rows > 0)
    except PermissionError as error:
        raise DataError(f"{path.name}: no permission to read the file") from error
    if encoding.guessed:
        warnings.warn(
            f"{path.name}: not UTF-8; read as {encoding.name}, inferred from its bytes; look at a few texts, "
            f"then write `encoding: {encoding.name}` to confirm it",
            AdjudgeWarning,
            stacklevel=4,
        )
    if source.format is None:
        name = text_format(path, source, encoding, format_by_name(path), FORMATS)
    return OpenedSource(path, source, name, encoding)


def local_files(source: Source, base: Path | None) -> list[Path]:
    """The files on this machine that a source is read from, those that are there."""
    if "://" in source.path:
        return []
    paths = [Path(path).expanduser() for path in (source.path, source.label_file) if path is not None]
    places = [path if base is None else base / path for path in paths]
    return [file for place in places for file in (class_folders.text_files(place) if place.is_dir() else [place])
            if file.is_file()]  # fmt: skip


def renamed(frame: pl.DataFrame, source: Source, name: str) -> pl.DataFrame:
    """The frame with the columns that `Source.columns` names under the task's names.

    Raises:
        DataError: there is no such column (with the nearest), or another one has the task's name.
    """
    problems = []
    for wanted, own in source.columns.items():
        if own not in frame.columns:
            problems.append(f"{name}: no column {own!r}, which `columns` names; {did_you_mean(own, frame.columns)}")
        elif wanted in frame.columns and wanted not in source.columns.values():
            problems.append(f"{name}: has a column {wanted!r} already; `columns` cannot call {own!r} so too")
    if problems:
        raise DataError(problems)
    return frame.rename({own: wanted for wanted, own in source.columns.items()})


def resolve(path: str, base: Path | None) -> Path:
    """The file or folder that a source's path means.

    Raises:
        DataError: no such file, with the nearest name in its folder.
    """
    file = Path(path).expanduser()
    file = file if base is None else base / file
    if not file.exists():
        near: list[str] = []
        if file.parent.is_dir():
            near = difflib.get_close_matches(file.name, [item.name for item in file.parent.iterdir()], 1, 0.55)
        hint = f"; did you mean {near[0]!r}?" if near else f"; nothing like it in {file.parent.name or '.'}/"
        raise DataError(f"{path}: no such file{hint}")
    return file


def _files_in(folder: Path) -> str:
    inside = sorted(item.name for item in folder.iterdir() if format_by_name(item))
    return f" (for example {', '.join(inside[:5])})" if inside else ""


def _format_of(path: Path, source: Source) -> str:
    """The format of a file by its first bytes where they tell it, else by its name; of other text ``csv`` for now."""
    with open_binary(path) as stream:
        start = stream.read(8)
    packed = next((name for magic, name in _PACKED if start.startswith(magic)), None)
    if packed is not None:
        raise DataError(f"{path.name}: is packed with {packed}; unpack it (gzip is read as it is)")
    by_content = next((name for magic, name in _MAGIC if start.startswith(magic)), None)
    by_name = format_by_name(path)
    if by_content == "excel" and by_name != "excel" and _is_archive(path):
        raise DataError(f"{path.name}: is a ZIP archive; unpack it (gzip is read as it is)")
    return by_content or by_name or "csv"


def format_by_name(path: Path) -> str | None:
    """The format that a file's name says, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return next((name for name, form in FORMATS.items() if suffixes and suffixes[-1] in form.suffixes), None)


def is_text_file(path: Path, source: Source) -> bool:
    """Whether a file is read as text: by what the source says, else by its first bytes and its name.

    Raises:
        DataError: a packed file.
    """
    return FORMATS[source.format or _format_of(path, source)].is_text


def _is_archive(path: Path) -> bool:
    """Whether a ZIP file is no workbook, which is one too."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not {"[Content_Types].xml", "content.xml"} & set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return True
