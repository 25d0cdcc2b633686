"""Checks that need a tokenizer or a baseline. Above a stated size they look at a stratified sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adjudge.core.errors import WorkError
from adjudge.core.protocols import TokenCounter
from adjudge.core.seeds import stream_generator
from adjudge.data.checks.contract import Check, Context, Finding, finding
from adjudge.data.checks.wording import labels, percent, rows, verb

FOLDABLE_ROWS = 5
"""A class with fewer rows cannot be in every fold, so its labels are not judged."""
_BATCH = 1_000


def stratified_sample(
    strata: npt.NDArray[np.int64], size: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Positions of ``size`` rows, each stratum with its share rounded down or up.

    Args:
        strata: ``[N]`` stratum of each row.
        size: rows wanted; all rows where there are no more.
        generator: of the draw.

    Returns:
        Sorted positions, ``[min(N, size)]``.
    """
    if len(strata) <= size:
        return np.arange(len(strata))
    order = generator.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]  # by stratum, random within
    # Every N/size-th row of this order, from a random start: each stratum gets its share, to within one row.
    steps = (np.arange(size) + generator.random()) * (len(strata) / size)
    return np.sort(order[steps.astype(np.int64)])


def token_length(context: Context) -> list[Finding]:
    """Lengths in the model's tokens, and the share that it would truncate."""
    options, corpus = context.options, context.corpus
    if options.token_counter is None or not len(corpus):
        return []
    at, sampled = sample(context, np.arange(len(corpus)))
    lengths, cut = _count_tokens(context, options.token_counter, at)
    model = options.model or "the model"
    median, high = (int(q) for q in np.quantile(lengths, [0.5, 0.95], method="higher"))
    facts = (
        f"half of the texts have at most {median:,} tokens, 95% at most {high:,}, the longest "
        f"{'at least ' if cut else ''}{lengths.max():,}{sampled}"
    )
    if options.max_tokens is None:
        message = f"in the tokens of {model}, {facts}; choose its limit by these lengths."
        return [finding("token_length", "note", corpus, at[:0], message, splits=corpus.names)]
    over = at[lengths > options.max_tokens]
    if not len(over):
        message = f"no text is longer than the {options.max_tokens:,} tokens that {model} reads: {facts}."
        return [finding("token_length", "note", corpus, over, message, splits=corpus.names)]
    message = (
        f"{rows(len(over))} ({percent(len(over) / len(at))}) {verb(len(over), 'is', 'are')} longer than the "
        f"{options.max_tokens:,} tokens that {model} reads and would be truncated: {facts}; raise the limit, or "
        "shorten the texts to what matters."
    )
    return [finding("token_length", "warning", corpus, over, message)]


def _count_tokens(
    context: Context, counter: TokenCounter, at: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], bool]:
    """Tokens of these rows ``[K]``, and whether a text was so long that only its beginning was counted."""
    limit = context.options.long_text_characters
    lengths = np.empty(len(at), dtype=np.int64)
    with context.progress.task("Counting tokens", len(at)) as advance:
        for start in range(0, len(at), _BATCH):
            part = at[start : start + _BATCH]
            lengths[start : start + len(part)] = counter(
                context.corpus.texts.gather(part).str.slice(0, limit).to_list()
            )
            advance(len(part))
    return lengths, bool((context.corpus.texts.gather(at).str.len_chars() > limit).any())


def label_noise(context: Context) -> list[Finding]:
    """Labels that a baseline, which did not see them, contradicts with confidence; most suspicious first.

    The rule of confident learning (Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068, section 3.1):
    class j is credible for a row if its out-of-fold probability reaches the mean of that probability over the rows
    labelled j; a row is suspect if the most probable credible class is not its label. Ranked by the probability of
    that class minus that of the label.
    """
    options, corpus = context.options, context.corpus
    if options.out_of_fold is None:
        return []
    if context.problem.multi:  # the rule is about one label for each text
        return []
    known = [i for i, label in enumerate(corpus.written) if label in context.labels]
    usable = np.flatnonzero(np.isin(corpus.label, known) & ~corpus.empty)
    at, sampled = sample(context, usable)
    sizes = np.bincount(corpus.label[at], minlength=len(corpus.written))
    classes = np.flatnonzero(sizes >= FOLDABLE_ROWS)
    if len(classes) < 2:
        return []
    rare = int(np.count_nonzero(sizes)) - len(classes)
    at = at[np.isin(corpus.label[at], classes)]
    given = np.searchsorted(classes, corpus.label[at])
    texts = corpus.texts.gather(at).str.slice(0, options.scan_characters).to_list()
    with context.progress.task("Looking for wrong labels", len(at)) as advance:
        probs = options.out_of_fold(texts, given, len(classes))
        advance(len(at))
    if probs.shape != (len(at), len(classes)) or not np.isfinite(probs).all():
        raise WorkError(
            f"label_noise: the baseline gave probabilities of shape {probs.shape}, or some that are not finite; "
            f"expected {(len(at), len(classes))}"
        )
    suspect, margin = suspects(probs, given)
    if not len(suspect):
        return []
    ranked = at[suspect[np.argsort(-margin, kind="stable")]]
    message = (
        f"{labels(len(ranked))} ({percent(len(ranked) / len(at))}) {verb(len(ranked), 'is', 'are')} contradicted with "
        f"confidence by a baseline that did not see them{sampled}, the most suspicious first; read those and correct "
        f"what is wrong. Looked at: {rows(len(at))} of {labels(len(classes))}"
        f"{f'; {labels(rare)} with fewer than {FOLDABLE_ROWS} rows there left out' if rare else ''}."
    )
    return [finding("label_noise", "note", corpus, ranked, message)]


def suspects(
    probs: npt.NDArray[np.float32], given: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows whose most probable credible class is not the given one.

    Args:
        probs: ``[N, C]`` out-of-fold probabilities.
        given: ``[N]`` labels in 0 to C - 1, each class at least once.

    Returns:
        Their positions ``[K]``, and the probability of that class minus that of the given one ``[K]``.
    """
    wide = probs.astype(np.float64)
    threshold = np.array([wide[given == j, j].mean() for j in range(wide.shape[1])])
    credible = np.where(wide >= threshold, wide, -1.0)
    best = credible.argmax(axis=1)
    at = np.flatnonzero((credible.max(axis=1) >= 0) & (best != given))
    margin = wide[at, best[at]] - wide[at, given[at]]
    return at[margin > 0], margin[margin > 0]


def sample(context: Context, usable: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], str]:
    """A sample of these corpus positions, stratified by split and label, and a clause that says so."""
    corpus, size = context.corpus, context.options.sample_rows
    strata = corpus.split[usable].astype(np.int64) * (corpus.holds.shape[0] + 1) + corpus.label[usable] + 1
    chosen = usable[stratified_sample(strata, size, stream_generator(context.options.seed, "sample"))]
    if len(chosen) == len(usable):
        return chosen, ""
    return chosen, f" (in a sample of {size:,} of {len(usable):,} rows, stratified by split and label)"


CHECKS = (
    Check({"token_length": "lengths in tokens, and rows that the model would truncate"}, token_length),
    Check({"label_noise": "labels that a baseline contradicts with confidence"}, label_noise),
)
