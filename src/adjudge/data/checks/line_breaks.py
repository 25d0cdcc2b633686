"""Texts that span lines: ordinary in reviews and letters, and what is left where a stray quote has joined rows."""

from __future__ import annotations

import re

import numpy as np

from adjudge.data.checks.contract import Check, Context, Finding, Level, finding
from adjudge.data.checks.corpus import BoolArray
from adjudge.data.checks.wording import percent, rows, verb

_MOST_LABELS = 200
_MESSAGES: dict[Level, str] = {
    "warning": "a text in which a line ends or begins with a delimiter and a label, as rows do: a stray quote may "
    "have joined rows; look at them, and read the file with `quoting: none` if so.",
    "note": "a text of several lines.",
}


def line_breaks(context: Context) -> list[Finding]:
    """Texts with line breaks in them; a warning where a line in one looks like a row of its own."""
    corpus = context.corpus
    spans = corpus.texts.str.contains(r"\S[\r\n]+\S").to_numpy().astype(np.bool_)
    joined = np.zeros(len(corpus), dtype=np.bool_)
    labels = [re.escape(label) for label in (context.labels or corpus.written)[:_MOST_LABELS]]
    if labels and spans.any():
        # A delimiter is followed by the label at once: after a comma of a sentence there is a space.
        label = f'"?(?:{"|".join(labels)})"?'
        pattern = rf"[,;\t|]{label}[\r\n]|[\r\n]{label}[,;\t|]\S"
        joined[spans] = corpus.texts.filter(spans).str.contains(pattern).to_numpy().astype(np.bool_)
    found = []
    for index, name in enumerate(corpus.names):
        of = corpus.of(index)
        kinds: tuple[tuple[Level, BoolArray], ...] = (("warning", joined), ("note", spans & ~joined))
        for level, chosen in kinds:
            at = np.flatnonzero(of & chosen)
            if len(at):
                counted = f"{rows(len(at))} of {name} ({percent(len(at) / of.sum())}) {verb(len(at), 'has', 'have')}"
                found.append(finding("line_breaks", level, corpus, at, f"{counted} {_MESSAGES[level]}"))
    return found


CHECKS = (Check({"line_breaks": "a text spans lines; a warning where a line in it looks like a row"}, line_breaks),)
