"""Texts that say nothing, say too much, or were damaged on their way here."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from adjudge.data.checks.contract import Check, Context, Finding, Level, finding
from adjudge.data.checks.wording import percent, rows, verb

_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
MOJIBAKE = "|".join(
    [
        "\ufffd",  # what a decoder writes for bytes that it could not read
        "[\u0080-\u009f]",  # C1 controls: cp1252 bytes read as latin-1
        f"[ÂÃ][\u0080-\u00bf{_CP1252}]",  # two-byte UTF-8 read as latin-1 or cp1252: Ã©
        f"â[\u0080\u0082\u0084€‚„][\u0080-\u00bf{_CP1252}]",  # punctuation: â€™
        f"ð[\u009fŸ][\u0080-\u00bf{_CP1252}]",  # emoji: ðŸ˜€
        "ï(?:»¿|¿½)",  # a byte order mark; U+FFFD itself
        f"(?:[ÐÑ][\u0080-\u00bf{_CP1252}]){{2,}}",  # Cyrillic
        "锟斤拷",  # replacement characters read as GB18030
    ]
)
FOREIGN_RUN = "(?:[À-ÖØ-öø-ÿ][\u00a1-\u00ff]){3,}"
"""GB18030, Big5 or a Cyrillic code page read as latin-1; also a drawn-out 'ééééé', so the characters must vary."""
HTML_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,24}[0-9]{0,2});"
E_MAIL = r"[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.)+[A-Za-z]{2,24}"
PHONE = r"\+?\(?[0-9][0-9()\-./ ]{6,20}[0-9]"
_DATE = re.compile(r"^(?:[0-9]{4}([-./])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-./])[0-9]{1,2}\2[0-9]{2,4})$")


def empty_text(context: Context) -> list[Finding]:
    """Texts with nothing visible in them."""
    return _by_split(
        context,
        context.corpus.empty,
        "empty_text",
        "error",
        "{rows} of {split} ({share}) {have} no text (empty, white space or invisible characters): "
        "no model can decide them; remove or fill them.",
    )


def long_text(context: Context) -> list[Finding]:
    """Texts far beyond what models read."""
    corpus, limit = context.corpus, context.options.long_text_characters
    length = corpus.texts.str.len_chars().to_numpy()
    longest = int(length.max()) if len(corpus) else 0
    return _by_split(
        context,
        length > limit,
        "long_text",
        "warning",
        f"{{rows}} of {{split}} ({{share}}) {{have}} more than {limit:,} characters (the longest of all: "
        f"{longest:,}); models truncate such texts and the gate looks for patterns in their first "
        f"{context.options.scan_characters:,} characters only; check that no rows were run together.",
    )


def encoding(context: Context) -> list[Finding]:
    """Characters that a wrong decoding leaves behind."""
    return _by_split(
        context,
        _matches(context, MOJIBAKE) | _matches(context, FOREIGN_RUN, lambda match: len(set(match.group())) > 3),
        "encoding",
        "warning",
        "{rows} of {split} ({share}) {have} signs of a wrong text encoding, such as 'Ã©', 'â€™' or U+FFFD; "
        "read the file again with its true encoding.",
    )


def html_entities(context: Context) -> list[Finding]:
    """HTML entities left in the text."""
    return _by_split(
        context,
        _matches(context, HTML_ENTITY, lambda match: html.unescape(match.group()) != match.group()),
        "html_entities",
        "warning",
        "{rows} of {split} ({share}) {have} HTML entities such as '&#039;' or '&amp;'; unescape the texts, "
        "and do the same to what will be predicted.",
    )


def personal_data(context: Context) -> list[Finding]:
    """E-mail addresses and phone numbers, by their form alone."""
    mail, phone = _matches(context, E_MAIL), _matches(context, PHONE, _is_phone)
    return _by_split(
        context,
        mail | phone,
        "personal_data",
        "note",
        "{rows} of {split} ({share}) {have} what looks like an e-mail address or a phone number; make sure that "
        "you may use them, or mask them.",
    )


def _matches(
    context: Context, pattern: str, confirm: Callable[[re.Match[str]], bool] | None = None
) -> npt.NDArray[np.bool_]:
    """``[N]`` whether the beginning of a text holds the pattern, in a place that ``confirm`` agrees with.

    The pattern finds candidates column by column, so it must be one that polars' regular expressions (no
    look-around) and Python's read alike; ``confirm`` sees few rows.
    """
    scanned = context.corpus.texts.str.slice(0, context.options.scan_characters)
    found = scanned.str.contains(pattern).to_numpy().astype(np.bool_)
    if confirm is not None:
        for i in np.flatnonzero(found).tolist():
            found[i] = any(map(confirm, re.finditer(pattern, scanned[i])))
    return np.asarray(found)


def _is_phone(match: re.Match[str]) -> bool:
    """Whether 9 to 15 digits (8 after a plus) stand alone and are grouped as people group phone numbers."""
    around = match.string[: match.start()][-1:] + match.string[match.end() :][:1]
    if re.search(r"[A-Za-z0-9_+,/]", around):
        return False
    text = match.group()
    digits = sum(character.isdigit() for character in text)
    if _DATE.match(text) or not 8 <= digits <= 15:
        return False
    if text.startswith("+"):
        return True
    if text.isdigit():  # bare digits are mostly ids and amounts; Chinese mobile numbers have a form of their own
        return re.fullmatch(r"1[3-9][0-9]{9}", text) is not None
    groups = re.findall(r"[0-9]+", text)
    return digits >= 9 and 2 <= len(groups) <= 5 and max(map(len, groups)) <= 8 and min(map(len, groups)) >= 2


def _by_split(context: Context, chosen: npt.NDArray[np.bool_], code: str, level: Level, message: str) -> list[Finding]:
    """One finding for each split that holds chosen rows (``[N]``)."""
    corpus = context.corpus
    found = []
    for index, name in enumerate(corpus.names):
        of = corpus.of(index)
        at = np.flatnonzero(of & chosen)
        if len(at):
            have = verb(len(at), "has", "have")
            text = message.format(rows=rows(len(at)), split=name, share=percent(len(at) / of.sum()), have=have)
            found.append(finding(code, level, corpus, at, text))
    return found


CHECKS = (
    Check({"empty_text": "a text is empty, white space or invisible"}, empty_text),
    Check({"long_text": "a text is far longer than models read"}, long_text),
    Check({"encoding": "signs of a wrong text encoding (mojibake)"}, encoding),
    Check({"html_entities": "HTML entities left in texts"}, html_entities),
    Check({"personal_data": "what looks like an e-mail address or a phone number"}, personal_data),
)
