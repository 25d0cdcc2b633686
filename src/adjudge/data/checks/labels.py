"""Labels that are missing, unknown, too rare to learn or to measure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.data.checks.contract import Check, Context, Finding, finding
from adjudge.data.checks.corpus import Corpus
from adjudge.data.checks.wording import labels, listed, percent, rows, verb
from adjudge.data.spelling import near_label

_SHOWN = 10


def label_counts(corpus: Corpus) -> npt.NDArray[np.int64]:
    """``[S, V]`` rows of each split and label as written; a row counts for each of its labels."""
    cells = np.zeros((len(corpus.names), corpus.holds.shape[0]), dtype=np.int64)
    at = np.flatnonzero(corpus.label >= 0)
    np.add.at(cells, (corpus.split[at], corpus.label[at]), 1)
    return np.asarray(cells @ corpus.holds, dtype=np.int64)


def missing_label(context: Context) -> list[Finding]:
    """Rows without a label."""
    corpus = context.corpus
    found = []
    for index, name in enumerate(corpus.names):
        of = corpus.of(index)
        at = np.flatnonzero(of & (corpus.label < 0))
        if len(at):
            message = (
                f"{rows(len(at))} of {name} ({percent(len(at) / of.sum())}) {verb(len(at), 'has', 'have')} no label "
                "and can neither teach nor measure; label or remove them."
            )
            found.append(finding("missing_label", "error", corpus, at, message))
    return found


def unknown_label(context: Context) -> list[Finding]:
    """Rows whose label is not one of the label set."""
    corpus = context.corpus
    unknown = ~np.isin(np.array(corpus.written, dtype=object), np.array(context.labels, dtype=object))
    found = []
    for index, name in enumerate(corpus.names):
        of = corpus.of(index)
        at = np.flatnonzero(of & corpus.with_label(unknown))
        if len(at):
            held = label_counts(corpus)[index] > 0
            names = [corpus.written[i] for i in np.flatnonzero(held & unknown).tolist()]
            hint = f" ({described})" if (described := near_label(names[0], context.labels)) else ""
            message = (
                f"{rows(len(at))} of {name} ({percent(len(at) / of.sum())}) {verb(len(at), 'has', 'have')} a label "
                f"outside the label set, {listed(names)}{hint}, which no model can answer; correct it, or add it to "
                "the task's labels and to train."
            )
            found.append(finding("unknown_label", "error", corpus, at, message))
    return found


def class_sizes(context: Context) -> list[Finding]:
    """Classes of the label set that a split lacks, or that are too small there; imbalance in train."""
    corpus, limit = context.corpus, context.options.min_class_rows
    counts = label_counts(corpus)
    column = {label: index for index, label in enumerate(corpus.written)}
    found = []
    for index, name in enumerate(corpus.names):
        if not corpus.of(index).any():
            continue
        sizes = {label: int(counts[index, column[label]]) if label in column else 0 for label in context.labels}
        use = "be learned" if name == "train" else "be measured"
        absent = [label for label, size in sizes.items() if size == 0]
        if absent:
            message = (
                f"{name} has no row of {len(absent)} of {labels(len(sizes))} ({listed(absent)}), which cannot {use} "
                "there; add rows, or take what is not needed out of the task."
            )
            found.append(finding("missing_class", "warning", corpus, _none(), message, splits=(name,)))
        small = [label for label, size in sizes.items() if 0 < size < limit]
        if small:
            chosen = np.isin(np.arange(len(corpus.written)), [column[label] for label in small])
            at = np.flatnonzero(corpus.of(index) & corpus.with_label(chosen))
            listing = ", ".join(f"{label!r}: {sizes[label]}" for label in small[:_SHOWN])
            message = (
                f"{len(small)} of {labels(len(sizes))} {verb(len(small), 'has', 'have')} fewer than {rows(limit)} in "
                f"{name} ({listing}{', …' if len(small) > _SHOWN else ''}), too few to {use} well; add rows or merge "
                "labels."
            )
            found.append(finding("small_class", "warning", corpus, at, message))
    return found + _imbalance(context, counts, column)


def _imbalance(context: Context, counts: npt.NDArray[np.int64], column: dict[str, int]) -> list[Finding]:
    corpus = context.corpus
    if not len(corpus):
        return []
    index = corpus.names.index("train") if "train" in corpus.names else 0
    sizes = {label: int(counts[index, column[label]]) for label in context.labels if label in column}
    sizes = {label: size for label, size in sizes.items() if size}
    if len(sizes) < 2:
        return []
    small, large = min(sizes, key=lambda label: sizes[label]), max(sizes, key=lambda label: sizes[label])
    ratio = sizes[large] / sizes[small]
    if ratio < context.options.imbalance_ratio:
        return []
    total = sum(sizes.values())
    at = np.flatnonzero(corpus.of(index) & corpus.with_label(np.arange(len(corpus.written)) == column[small]))
    message = (
        f"the largest label of {corpus.names[index]} ({large!r}, {percent(sizes[large] / total)}) has {ratio:.1f} "
        f"times the rows of the smallest ({small!r}, {rows(sizes[small])}, {percent(sizes[small] / total)}): judge by "
        "macro-F1 rather than accuracy, and try class weights."
    )
    return [finding("imbalance", "note", corpus, at, message)]


def _none() -> npt.NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


CHECKS = (
    Check({"missing_label": "a row has no label"}, missing_label),
    Check({"unknown_label": "a label is not one of the label set"}, unknown_label),
    Check(
        {
            "missing_class": "a label has no row in a split",
            "small_class": "a label has too few rows in a split to be learned or measured",
            "imbalance": "the largest class of train is many times the smallest",
        },
        class_sizes,
    ),
)
