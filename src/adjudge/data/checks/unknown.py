"""Texts that a model's vocabulary knows nothing of: a language or script that it was not made for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.core.protocols import TokenCounter
from adjudge.data.checks.contract import Check, Context, Finding, Level, finding
from adjudge.data.checks.sampled import sample
from adjudge.data.checks.wording import percent, rows, verb

_BATCH = 1_000
_ERROR_SHARE = 0.5
"""From this share of a split's texts on, a model cannot learn from it."""


def unknown_tokens(context: Context) -> list[Finding]:
    """Texts whose tokens are all unknown, or that have none although something is written in them."""
    counter, corpus = context.options.known_counter, context.corpus
    if counter is None or not len(corpus):
        return []
    at, sampled = sample(context, np.flatnonzero(~corpus.empty))
    unknown = at[_known(context, counter, at) == 0]
    model = context.options.model or "the model"
    found = []
    for index, name in enumerate(corpus.names):
        own, looked_at = unknown[corpus.split[unknown] == index], int((corpus.split[at] == index).sum())
        if not len(own):
            continue
        share = len(own) / looked_at
        level: Level = "error" if share >= _ERROR_SHARE else "warning"
        has, same = verb(len(own), "has", "have"), verb(len(own), "it is", "they are")
        message = (
            f"{rows(len(own))} of {name} ({percent(share)}){sampled} {has} no token that the vocabulary of {model} "
            f"knows, so {same} the same to it; use a model of the texts' language and script, or see whether its "
            "tokenizer is the right one."
        )
        found.append(finding("unknown_tokens", level, corpus, own, message))
    return found


def _known(context: Context, counter: TokenCounter, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Known tokens of these rows ``[K]``, as far as texts are looked at."""
    parts = [np.empty(0, dtype=np.int64)]
    with context.progress.task("Looking for unknown texts", len(at)) as advance:
        for start in range(0, len(at), _BATCH):
            part = at[start : start + _BATCH]
            texts = context.corpus.texts.gather(part).str.slice(0, context.options.scan_characters)
            parts.append(counter(texts.to_list()))
            advance(len(part))
    return np.concatenate(parts)


CHECKS = (Check({"unknown_tokens": "texts of which the model's vocabulary knows nothing"}, unknown_tokens),)
