"""The table of formats, and the one way in: a source becomes a table, or a stream of batches.

Adding a format is one function ``(path, source, encoding, batch_rows) -> batches`` and one line in `FORMATS`.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from adjudge.core.errors import AdjudgeWarning, DataError
from adjudge.core.secrets import is_variable
from adjudge.core.task import Source
from adjudge.data import delimited, embedded, hub, sql, structured
from adjudge.data.encodings import Encoding, find_encoding, open_binary

BATCH_ROWS = 50_000


_MAGIC = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\xff\xff\xff\xff", "arrow"), (b"PK\x03\x04", "excel"))


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


FORMATS: dict[str, _Format] = {
    "csv": _Format(delimited.read_batches, (".csv",), is_text=True),
    "tsv": _Format(delimited.read_batches, (".tsv", ".tab"), is_text=True),
    "lines": _Format(delimited.read_line_batches, (".txt",), is_text=True),
    "json": _Format(structured.read_json_batches, (".json",), is_text=True),
    "jsonl": _Format(structured.read_jsonl_batches, (".jsonl", ".ndjson"), is_text=True),
    "parquet": _Format(structured.read_parquet_batches, (".parquet", ".pq"), is_text=False),
    "arrow": _Format(structured.read_arrow_batches, (".arrow", ".feather", ".ipc"), is_text=False),
    "excel": _Format(structured.read_excel_batches, (".xlsx", ".xlsm", ".xls", ".ods"), is_text=False),
}


def read_table(source: Source, *, base: Path | None = None, role: str = "train") -> Table:
    """Read a source whole.

    Args:
        source: a file, ``hf://owner/name[/config]``, ``embedded://name`` or a database URL with a query.
        base: folder that relative paths are resolved against; default: the working directory.
        role: the split that is wanted (``train``, ``validation``, ``test``) from a source that has several.

    Raises:
        DataError: nothing there, or nothing that can be read; the message says what and where.
        MissingExtraError: the source needs a package that is not installed.

    Warns:
        AdjudgeWarning: the encoding was guessed.
    """
    if source.path.startswith("hf://"):
        return Table(hub.read(source, role), source.path.removeprefix("hf://"))
    if source.path.startswith("embedded://"):
        return Table(embedded.read(source, role), source.path.removeprefix("embedded://"))
    if "://" in source.path or is_variable(source.path):
        return Table(*sql.read(source, base))
    path = resolve(source.path, base)
    form, encoding = _prepare(path, source)
    frame = pl.concat(list(form.batches(path, source, encoding, BATCH_ROWS)))
    known = encoding or Encoding("")
    return Table(frame, path.name, known.name or None, known.guessed)


def iter_tables(
    path: Source | Path | str, *, base: Path | None = None, batch_rows: int = 8_192
) -> Iterator[pl.DataFrame]:
    """Read a file in batches, in order and with one schema; memory does not grow with CSV, JSON lines or Parquet.

    The other formats are read whole and handed out in batches. A text file is checked as a whole for its encoding
    before the first batch, and so are the rows of CSV, TSV, lines and JSON lines: a broken row stops the work at once.

    Args:
        path: the file, or a source with its options.
        base: folder that relative paths are resolved against.
        batch_rows: most rows in a batch, at least 1.

    Raises:
        DataError: as `read_table`.
    """
    source = path if isinstance(path, Source) else Source(path=str(path))
    if "://" in source.path or is_variable(source.path):
        yield from read_table(source, base=base).frame.iter_slices(batch_rows)
        return
    file = resolve(source.path, base)
    form, encoding = _prepare(file, source)
    if form.batches in (delimited.read_batches, delimited.read_line_batches):
        for _ in form.batches(file, source, encoding, batch_rows):
            pass
    yield from form.batches(file, source, encoding, batch_rows)


def resolve(path: str, base: Path | None) -> Path:
    """The file that a source's path means.

    Raises:
        DataError: no such file (with the nearest name in its folder), or a directory.
    """
    file = Path(path).expanduser()
    file = file if base is None else base / file
    if file.is_dir():
        inside = sorted(item.name for item in file.iterdir() if _format_by_suffix(item))
        shown = f" (for example {', '.join(inside[:5])})" if inside else ""
        raise DataError(f"{path}: is a directory; name a file in it{shown}")
    if not file.exists():
        near: list[str] = []
        if file.parent.is_dir():
            near = difflib.get_close_matches(file.name, [item.name for item in file.parent.iterdir()], 1, 0.55)
        hint = f"; did you mean {near[0]!r}?" if near else f"; nothing like it in {file.parent.name or '.'}/"
        raise DataError(f"{path}: no such file{hint}")
    return file


def _prepare(path: Path, source: Source) -> tuple[_Format, Encoding | None]:
    try:
        if not path.stat().st_size:
            raise DataError(f"{path.name}: the file is empty")
        form = FORMATS[source.format or _format_by_suffix(path) or _format_by_content(path, source)]
        if not form.is_text:
            return form, None
        encoding = find_encoding(path, source.encoding)
    except PermissionError as error:
        raise DataError(f"{path.name}: no permission to read the file") from error
    if encoding.guessed:
        warnings.warn(
            f"{path.name}: not UTF-8; read as {encoding.name}, inferred from its bytes; look at a few texts, "
            f"then write `encoding: {encoding.name}` to confirm it",
            AdjudgeWarning,
            stacklevel=4,
        )
    return form, encoding


def _format_by_suffix(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return next((name for name, form in FORMATS.items() if suffixes and suffixes[-1] in form.suffixes), None)


def _format_by_content(path: Path, source: Source) -> str:
    """The format of a file whose name does not say it, by its first bytes and lines."""
    with open_binary(path) as stream:
        start = stream.read(1 << 16)
    name = next((name for magic, name in _MAGIC if start.startswith(magic)), None)
    if name is not None:
        return name
    text = start.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("{"):
        return "jsonl" if _is_record(text.splitlines()[0]) else "json"
    if text.startswith("["):
        return "json"
    fits = [delimited.fit(text, each) for each in ([source.delimiter] if source.delimiter else delimited.DELIMITERS)]
    if "\n" in text.rstrip() and any(several and share == 1 for several, share, _ in fits):
        return "csv"
    raise DataError(
        f"{path.name}: the name and content do not say which format this is; set `format`: {', '.join(FORMATS)}"
    )


def _is_record(line: str) -> bool:
    """Whether a line is a whole object, and not one of columns."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(value, dict) and not all(isinstance(column, list) for column in value.values())
