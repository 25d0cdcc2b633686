"""Which encoding a text file has: found by a sound order, never by a silent guess.

The order: a byte-order mark; strict UTF-8; then, for files that are not UTF-8, what their non-ASCII bytes are
evidence for. A file that is UTF-8 apart from a broken sequence is an error, not latin-1. An encoding that was
inferred rather than known is marked as guessed, so that the reader can say so.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import charset_normalizer

from adjudge.core.errors import DataError

CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 17
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF8_PARTS = re.compile(
    rb"(?P<valid>[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf4][\x80-\xbf]{3})"
    rb"|(?P<half>[\xe0-\xef][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{1,2})|(?P<stray>[\x80-\xff])"
)
# The commonest characters of Chinese text: they make up about half of any, and next to nothing of other
# scripts' bytes misread as GB18030.
_COMMON_CHINESE = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种"
    "事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公"
    "此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特"
    "代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数"
    "安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达"
    "告市院罪检察某故伤害诈骗号车品服快差评值买店喜欢质错惊影"
)
_WESTERN_SYMBOLS = frozenset("‘’“”‚„‹›«»–—…•·¿¡€£¥¢§©®™°±²³¹µ¼½¾×÷ªº´¨¸¬†‡‰\u00a0\u00ad")
_WITHIN_WORDS = frozenset("’‘´·–—\u00a0\u00ad…/")
_OTHERS = [
    "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874",
    "shift_jis", "euc_jp", "euc_kr", "big5",
]  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """A text encoding, and whether it was inferred from the bytes without a mark or a declaration."""

    name: str
    guessed: bool = False


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
def open_text(path: Path, encoding: Encoding) -> Iterator[io.TextIOWrapper]:
    """Open a file as text with its line ends kept as they are (as the csv module wants them)."""
    with open_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding=encoding.name, errors="strict", newline="")
        try:
            yield text
        finally:
            text.detach()


def find_encoding(path: Path, declared: str | None = None) -> Encoding:
    """Find a text file's encoding, having read the whole file in bounded memory.

    Args:
        path: the file, possibly gzip-compressed.
        declared: what the user says the encoding is; then nothing is guessed.

    Returns:
        The encoding, in which the whole file decodes strictly.

    Raises:
        DataError: NUL bytes, an unknown encoding name, or bytes that no encoding explains; the message names
            the first bad byte with its offset and line.
    """
    if declared is not None:
        try:
            codecs.lookup(declared)
        except LookupError as error:
            raise DataError(
                f"{path.name}: unknown encoding {declared!r}; allowed: names that Python knows, "
                "for example utf-8, gb18030, latin-1, cp1252, cp1251, shift_jis"
            ) from error
    with open_binary(path) as stream:
        start = stream.read(4)
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    if declared is not None:
        utf8 = codecs.lookup(declared).name == "utf-8"
        name = "utf-8-sig" if utf8 and marked == "utf-8-sig" else declared
    else:
        name = marked or "utf-8"
    bad = _first_bad_byte(path, name)
    if bad is None:
        return Encoding(name)
    if declared is not None or marked is not None:
        said = f"which `encoding: {declared}` says it is" if declared else "which its byte-order mark says it is"
        raise DataError(f"{_bad(path, bad)} is not valid {name}, {said}; correct the file or the encoding")
    guess = _guess(_sample(path, bad.offset))
    if guess is not None and _first_bad_byte(path, guess) is None:
        return Encoding(guess, guessed=True)
    raise DataError(
        f"{_bad(path, bad)} is not valid UTF-8 (a broken or cut-off character?), and no other encoding fits; "
        "save the file as UTF-8, or name its encoding (for example `encoding: gb18030` or `encoding: latin-1`)"
    )


def _bad(path: Path, bad: _BadByte) -> str:
    return f"{path.name}: byte 0x{bad.value:02X} at offset {bad.offset} (line {bad.line})"


def _first_bad_byte(path: Path, name: str) -> _BadByte | None:
    """Decode the whole file strictly; the first byte that cannot be, or None.

    Raises:
        DataError: a NUL in the text.
    """
    decoder = codecs.getincrementaldecoder(name)("strict")
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
            if (nul := text.find("\0")) >= 0:
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


def _guess(sample: bytes) -> str | None:
    """The encoding that a sample's non-ASCII bytes are good evidence for, or None."""
    if _is_chinese(sample):
        return "gb18030"
    kinds = [match.lastgroup for match in _UTF8_PARTS.finditer(sample)]
    valid, half = kinds.count("valid"), kinds.count("half")
    if 2 * valid >= len(kinds) or 2 * (valid + half) > len(kinds):
        return None  # damaged UTF-8
    if _is_western(sample):
        return "cp1252" if re.search(rb"[\x80-\x9f]", sample) else "latin-1"
    if len(kinds) < 20:
        return None  # too little evidence for any codepage
    best = charset_normalizer.from_bytes(sample, cp_isolation=_OTHERS).best()
    if best is None or best.chaos > 0.1 or best.coherence < 0.3:
        return None
    return best.encoding


def _is_chinese(sample: bytes) -> bool:
    text = "".join(char for char in sample.decode("gb18030", "ignore") if ord(char) > 127)
    if not text:
        return False
    encoded = [char.encode("gb18030") for char in text]
    standard = sum(len(code) == 2 and code[0] >= 0xA1 and code[1] >= 0xA1 for code in encoded)
    common = sum(char in _COMMON_CHINESE for char in text)
    return standard >= 0.9 * len(text) and common >= 0.15 * len(text)


def _is_western(sample: bytes) -> bool:
    """Whether the bytes read as Windows-1252 look like a western European language."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    good = total = 0
    for match in re.finditer(r"[^\W\d_]+", text):
        word = match.group()
        accents = sum(ord(char) > 127 for char in word)
        total += accents
        good += accents if _western_word(word, accents) else 0
    for match in re.finditer(r"[^\x00-\x7f]", text):
        char = match.group()
        if char.isalpha() and char not in _WESTERN_SYMBOLS:
            continue
        total += 1
        around = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        enclosed = all(side.isalpha() for side in around)
        good += char in _WESTERN_SYMBOLS and (char in _WITHIN_WORDS or not enclosed)
    return total > 0 and good >= 0.8 * total


def _western_word(word: str, accents: int) -> bool:
    if len(word) == 1:
        return word in "àèéìòóùåöøáíúÀÉÈÓÅÖ"
    if 3 * accents > 2 * len(word):
        return False
    lower = any("a" <= char <= "z" for char in word)
    return not (lower and any(char.isupper() and ord(char) > 127 for char in word[1:]))
