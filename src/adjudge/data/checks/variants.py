"""Labels that are one label written in several ways, and words that may stand for no label at all."""

from __future__ import annotations

import numpy as np

from adjudge.data.checks.contract import Check, Context, Finding, finding
from adjudge.data.checks.labels import label_counts
from adjudge.data.checks.wording import labels, listed, percent, rows, verb
from adjudge.data.spelling import difference, fold, is_clean, quoted, variants

_SHOWN = 5
NO_LABEL = frozenset(
    ("abstain", "unlabeled", "unlabelled", "not labeled", "n/a", "na", "nan", "null", "none", "?", "todo", "skip")
)
"""Words that files hold where nobody, or no labelling function, has decided."""


def label_variants(context: Context) -> list[Finding]:
    """Labels that people read as one, and a computer as several; the rows of all but the main one.

    The main one is of the task's label set, written in the ordinary way, and the most common, in this order.
    """
    corpus = context.corpus
    totals = dict(zip(corpus.written, label_counts(corpus).sum(axis=0).tolist(), strict=True))
    groups = variants(corpus.written)
    rare: list[str] = []
    shown, mapped = [], []
    for group in groups:
        main, *others = sorted(group, key=lambda x: (x not in context.labels, not is_clean(x), -totals[x]))
        rare += others
        for other in others:
            shown.append(f"{quoted(other)} differs from {quoted(main)} by {difference(other, main)}")
            mapped.append(f"{quoted(other)}: {quoted(main)}")
    if not shown:
        return []
    at = np.flatnonzero(
        corpus.with_label(np.isin(np.array(corpus.written, dtype=object), np.array(rare, dtype=object)))
    )
    message = (
        f"{labels(len(groups))} {verb(len(groups), 'is', 'are')} written in several ways, so that {rows(len(at))} "
        f"({percent(len(at) / len(corpus))}) would be classes of their own: {_some(shown, '; ')}. Write each label in "
        f"one way, or say so in the task: label_map: {{{_some(mapped, ', ')}}}"
    )
    return [finding("label_variants", "warning", corpus, at, message)]


def placeholder_label(context: Context) -> list[Finding]:
    """Labels whose word may mean that there is none: ``abstain``, ``n/a``, or -1 beside whole numbers from 0 on."""
    corpus = context.corpus
    folded = [fold(label) for label in corpus.written]
    chosen = np.array([word in NO_LABEL for word in folded], dtype=np.bool_)
    others = [word for word in folded if word != "-1" and word not in NO_LABEL]
    if others and all(word.isdecimal() for word in others):
        chosen |= np.array([word == "-1" for word in folded], dtype=np.bool_)
    if not chosen.any():
        return []
    names = [corpus.written[i] for i in np.flatnonzero(chosen).tolist()]
    at = np.flatnonzero(corpus.with_label(chosen))
    mapping = ", ".join(f"{quoted(name)}: null" for name in names[:_SHOWN])
    message = (
        f"{rows(len(at))} ({percent(len(at) / len(corpus))}) {verb(len(at), 'has', 'have')} the label "
        f"{listed(names, _SHOWN)}, which often means that nobody decided (labelling functions abstain with -1); if it "
        f"does here, such rows have no label: say so in the task by label_map: {{{mapping}}}, or leave them out."
    )
    return [finding("placeholder_label", "note", corpus, at, message)]


def _some(parts: list[str], separator: str) -> str:
    return separator.join(parts[:_SHOWN]) + (f"{separator}…" if len(parts) > _SHOWN else "")


CHECKS = (
    Check({"label_variants": "labels that people read as one and that are written differently"}, label_variants),
    Check({"placeholder_label": "a label whose word may mean that there is none"}, placeholder_label),
)
