"""Which code page a sample of non-UTF-8 text is in: by the letters of languages, and by frequent characters.

Neighbouring code pages differ in a few letters only, so what a sample decodes to is held against the alphabets of the
languages that are written in it. The commonest page wins unless another explains clearly more.
"""

from __future__ import annotations

import re
from collections import Counter

import charset_normalizer

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
_OTHERS = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874", "shift_jis", "euc_jp", "euc_kr", "big5"]
# Letters beyond a to z of the languages that are written in a code page of Latin letters.
_CENTRAL = (
    "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "ćčđšž"
)  # fmt: skip
_WESTERN = (
    "àâæçèéêëîïôœùûüÿ", "äöüß", "áéíñóúü", "àáâãçéêíóôõúü", "àèéìíîòóùú", "åæéèêóòôø", "åäöéà", "áéíóúèêëïöü",
    "áðéíóúýþæöø", "àçèéíïòóúü", "àâçèéêëîïñôöûü"
)  # fmt: skip
_LANGUAGES = {
    "cp1250": _CENTRAL,
    "iso8859_2": _CENTRAL,
    "cp1254": ("çğıöşüâîûİ",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
}
_SURE_SHARE, _MARGIN, _FEWEST = 0.95, 0.05, 3


def guess_encoding(sample: bytes) -> str | None:
    """The encoding that a sample's non-ASCII bytes are good evidence for, or None."""
    if _is_chinese(sample):
        return "gb18030"
    kinds = [match.lastgroup for match in _UTF8_PARTS.finditer(sample)]
    valid, half = kinds.count("valid"), kinds.count("half")
    if 2 * valid >= len(kinds) or 2 * (valid + half) > len(kinds):
        return None  # damaged UTF-8
    if latin := _latin_neighbour(sample):
        return latin
    if _is_western(sample):
        return "cp1252" if re.search(rb"[\x80-\x9f]", sample) else "latin-1"
    if len(kinds) < 20:
        return None  # too little evidence for any codepage
    best = charset_normalizer.from_bytes(sample, cp_isolation=_OTHERS).best()
    if best is None or best.chaos > 0.1 or best.coherence < 0.3:
        return None
    return best.encoding


def _latin_neighbour(sample: bytes) -> str | None:
    """A page of Latin letters that explains clearly more than Windows-1252 does, if it reads differently at all."""
    common = sample.decode("cp1252", "replace")
    least = max(_SURE_SHARE, _share_of_letters(common, _WESTERN) + _MARGIN)
    best: str | None = None
    for page, alphabets in _LANGUAGES.items():
        text = sample.decode(page, "replace")
        share = _share_of_letters(text, alphabets)
        if text != common and share >= least:
            best, least = page, share + 1e-9
    return best


def _share_of_letters(text: str, alphabets: tuple[str, ...]) -> float:
    """Share of the non-ASCII characters of words that one alphabet explains, the best one's; 0 for too few."""
    letters: Counter[str] = Counter()
    for match in re.finditer(r"[^\W\d_]{2,}", text):
        word = match.group()
        accents = [char for char in word if ord(char) > 127]
        if word.isupper() or not any(map(str.isupper, accents if accents[:1] != [word[0]] else accents[1:])):
            letters.update(char if char == "İ" else char.lower() for char in accents)
        else:
            letters["?"] += len(accents)
    within = len(re.findall(r"(?<=[^\W\d_])[^\w\s\x00-\x7f’‘´·–—\u00a0\u00ad…](?=[^\W\d_])", text))
    total = letters.total() + within
    if letters.total() < _FEWEST:
        return 0.0
    return max(sum(letters[char] for char in alphabet) for alphabet in alphabets) / total


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
