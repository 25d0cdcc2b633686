"""Which encoding a text file has: found by a sound order, never by a silent guess.

The order: a byte-order mark; strict UTF-8; then, for files that are not UTF-8, what their non-ASCII bytes are
evidence for. A file that is UTF-8 apart from a broken sequence is an error, not latin-1. An encoding that was
inferred rather than known is marked as guessed, so that the reader can say so.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adjudge.core.errors import DataError
from adjudge.data.files.codepages import guess_encoding

CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 17
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_FILES = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "unicode_escape", "raw_unicode_escape"}
"""Codecs of domain names and of escapes, which no file is in."""


@dataclass(frozen=True)
class Encoding:
    """A text encoding.

    Attributes:
        name: as Python knows it.
        guessed: whether it was inferred from the bytes, without a mark or a declaration.
        lenient: whether the file holds bytes that are no text in it, or NUL bytes; they are decoded to half
            characters (U+DC80 to U+DCFF), so that the rows which hold them can be left out.
    """

    name: str
    guessed: bool = False
    lenient: bool = False


@dataclass(frozen=True)
class _BadByte:
    offset: int
    line: int
    value: int


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, decompressing gzip (known by its first two bytes).

    Raises:
        DataError: the gzip stream is damaged.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield io.BufferedReader(stream, CHUNK_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path.name}: damaged gzip file: {error}; compress it again") from error


@contextmanager
def open_text(path: Path, encoding: Encoding, line_end: str = "") -> Iterator[io.TextIOWrapper]:
    """Open a file as text, with its line ends kept as they are.

    Args:
        path: the file.
        encoding: as `find_encoding` gives it.
        line_end: what ends a line: a line feed alone, or, by an empty text, a carriage return and both too.
    """
    errors = "surrogateescape" if encoding.lenient else "strict"
    with open_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding=encoding.name, errors=errors, newline=line_end)
        try:
            yield text
        finally:
            text.detach()


def find_encoding(path: Path, declared: str | None = None, *, lenient: bool = False) -> Encoding:
    """Find a text file's encoding, having read the whole file in bounded memory.

    Args:
        path: the file, possibly gzip-compressed.
        declared: what the user says the encoding is; then nothing is guessed.
        lenient: whether bytes that are no text are left to the reader, which knows the rows that hold them.

    Returns:
        The encoding, in which the whole file decodes strictly, or leniently where that was asked for.

    Raises:
        DataError: NUL bytes, an unknown encoding name, or bytes that no encoding explains; the message names
            the first bad byte with its offset and line.
    """
    if declared is not None:
        _known_name(path, declared)
    with open_binary(path) as stream:
        start = stream.read(4)
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if declared is not None:
        utf8 = codecs.lookup(declared).name == "utf-8"
        name = "utf-8-sig" if utf8 and marked == "utf-8-sig" else declared
    else:
        name = marked or "utf-8"
    try:
        return _strict_encoding(path, name, known=declared is not None or marked is not None)
    except DataError:
        if lenient and _first_bad_byte(path, name, lenient=True) is None:
            return Encoding(name, lenient=True)
        raise


def _known_name(path: Path, declared: str) -> None:
    try:
        is_text = "a,\n".encode(declared).decode(declared) == "a,\n" and codecs.lookup(declared).name not in _NO_FILES
    except (LookupError, UnicodeError):  # codecs of Python that give no text, such as base64, too
        is_text = False
    if not is_text:
        raise DataError(
            f"{path.name}: unknown encoding {declared!r}; allowed: names that Python knows, "
            "for example utf-8, gb18030, latin-1, cp1252, cp1251, shift_jis"
        )


def _strict_encoding(path: Path, name: str, *, known: bool) -> Encoding:
    """The encoding in which every byte is text: this one, or, where it is not known for sure, a guess."""
    bad = _first_bad_byte(path, name)
    if bad is None:
        return Encoding(name)
    if known:
        raise DataError(
            f"{_bad(path, bad)} is not valid {name}, as which it is read (by its byte-order mark or `encoding`); "
            "correct it, or name the encoding that it is in"
        )
    guess = guess_encoding(_sample(path, bad.offset))
    if guess is not None and _first_bad_byte(path, guess) is None:
        return Encoding(guess, guessed=True)
    raise DataError(
        f"{_bad(path, bad)} is not valid UTF-8 (a broken or cut-off character?), and no other encoding fits; "
        "save the file as UTF-8, or name its encoding (for example `encoding: gb18030` or `encoding: latin-1`)"
    )


def _bad(path: Path, bad: _BadByte) -> str:
    return f"{path.name}: byte 0x{bad.value:02X} at offset {bad.offset} (line {bad.line})"


def _first_bad_byte(path: Path, name: str, *, lenient: bool = False) -> _BadByte | None:
    """Decode the whole file strictly; the first byte that cannot be, or None.

    Raises:
        DataError: a NUL in the text (not where it is read leniently).
    """
    decoder = codecs.getincrementaldecoder(name)("surrogateescape" if lenient else "strict")
    line, offset = 1, 0
    with open_binary(path) as stream:
        while True:
            chunk = stream.read(CHUNK_BYTES)
            state = decoder.getstate()[0]
            pending = len(state) if isinstance(state, bytes) else 0
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                whole = error.object
                before = whole[: error.start].decode(name, "replace")
                return _BadByte(offset - pending + error.start, line + before.count("\n"), whole[error.start])
            except UnicodeError:  # of codecs that cannot say where
                return _BadByte(offset, line, chunk[0] if chunk else 0)
            if not lenient and (nul := text.find("\0")) >= 0:
                at = line + text.count("\n", 0, nul)
                where = f"offset {offset - pending + len(text[:nul].encode(name))}, " if name == "utf-8" else ""
                raise DataError(
                    f"{path.name}: NUL byte (0x00) at {where}line {at}: damaged, binary, or UTF-16 without its mark; "
                    "remove the NUL bytes, or name the encoding (for example `encoding: utf-16-le`)"
                )
            if not chunk:
                return None
            line += text.count("\n")
            offset += len(chunk)


def _sample(path: Path, bad_offset: int) -> bytes:
    """Lines with non-ASCII bytes: some from the start, and some from the first bad byte on."""
    kept: list[bytes] = []
    room, at = SAMPLE_BYTES, 0
    reached = False
    with open_binary(path) as stream:
        while line := stream.readline(SAMPLE_BYTES):
            if not reached and at + len(line) > bad_offset:
                reached, room = True, SAMPLE_BYTES
            at += len(line)
            if room > 0 and not line.isascii():
                kept.append(line)
                room -= len(line)
            if reached and room <= 0:
                break
    return b"".join(kept)
