"""What a reader has to know about a comparison itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adjudge.compare.fairness import LoadedRun
from adjudge.compare.results import CompareOptions, LeftOut, MethodGroup, PairedTest

SHOWN = 5
"""How many labels a note names."""


def notes_of(
    groups: Sequence[MethodGroup],
    reference: MethodGroup,
    deciding: Sequence[PairedTest],
    loaded: Sequence[LoadedRun],
    left_out: Sequence[LeftOut],
    options: CompareOptions,
) -> list[str]:
    """The notes of a comparison, most important first."""
    return [
        *_blind(deciding, loaded[0], options),
        *_seeds(groups, reference),
        *_rows(groups, loaded),
        *(
            [f"{len(left_out)} of the runs given could not be compared; they are listed with the reason."]
            * bool(left_out)
        ),
    ]


def _blind(deciding: Sequence[PairedTest], first: LoadedRun, options: CompareOptions) -> Iterator[str]:
    """Where the test rows are too few to show a loss of the margin, whatever the answers."""
    if all(test.verdict == "beyond" for test in deciding):
        return
    rows, margin, title = len(first.test.gold), options.deciding.amount(options.margin), options.deciding.title
    enough = rows_without_a_loss(options.margin)
    if options.metric == "accuracy" and rows < enough:
        yield f"{rows:,} test rows without a single loss leave room for more than {margin}; {enough:,} would not."
    if options.metric != "macro_f1":
        return
    held = _label_rows(first)
    missing = [label for label, count in zip(first.labels, held, strict=True) if not count]
    if missing:
        yield f"No test row has the label {_some(missing)}: differences in {title} are over the other labels."
    present = int((held > 0).sum())
    enough = rows_without_a_loss(options.margin * present, of_f1=True)
    few = sorted((int(count), label) for label, count in zip(first.labels, held, strict=True) if 0 < count < enough)
    if few:
        named = _some([f"{label} ({count} row{'s' if count > 1 else ''})" for count, label in few])
        yield (
            f"Labels with few test rows make this test blind: {named}. Without a single loss, fewer than {enough:,} "
            f"rows of a label leave room for more than {margin} of {title}; more rows of these labels help most."
        )
    single = int((held == 1).sum())
    if single > 0.2 * present:
        yield (
            f"{single:,} of {present:,} labels have one test row, which says nothing of its own spread: the intervals "
            f"of {title} are too narrow."
        )


def rows_without_a_loss(margin: float, *, of_f1: bool = False) -> int:
    """Rows from which on not a single loss among them shows, with 95% confidence, that less than the margin is lost.

    N rows without a loss leave room for losses on a share of ``q = 1 - 0.05^(1/N)`` (Clopper and Pearson 1934).

    Args:
        margin: of accuracy; or, ``of_f1``, of a label's F1, which falls by ``q / (2 - q)`` where recall falls by q.
        of_f1: see there.

    Returns:
        At least 1; a billion where the margin is 0.
    """
    share = 2 * margin / (1 + margin) if of_f1 else margin
    if share >= 1:
        return 1
    return int(min(1e9, np.ceil(np.log(0.05) / np.log1p(-share)))) if share > 0 else int(1e9)


def _label_rows(first: LoadedRun) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Test rows of every label, ``[C]``."""
    if first.test.sets is not None:
        return np.asarray(first.test.sets[first.test.gold].sum(axis=0), dtype=np.int64)
    return np.bincount(first.test.gold, minlength=len(first.labels))


def _seeds(groups: Sequence[MethodGroup], reference: MethodGroup) -> Iterator[str]:
    single = [group.label for group in groups if not group.of_method]
    if single:
        whose = "Every method" if len(single) == len(groups) and len(single) > 1 else _some(single)
        verb = "has" if len(single) == 1 or len(single) == len(groups) else "have"
        yield (
            f"{whose} {verb} one seed: what is shown is shown of that run. Another seed may differ by more than the "
            "interval, which knows of rows alone; three seeds or more show it."
        )
    if any(len(group.runs) == 2 and not group.deterministic for group in groups):
        yield "Two seeds leave the spread between seeds almost unknown and the intervals wide; three are far better."
    if reference.validation and reference.validation["macro_f1"].sd is None and any(len(g.runs) > 1 for g in groups):
        yield f"{reference.label}, the best on validation, has one seed where others have several, maybe a lucky one."


def _rows(groups: Sequence[MethodGroup], loaded: Sequence[LoadedRun]) -> Iterator[str]:
    if any(not group.validation for group in groups):
        yield "Some runs have no validation rows; such a method is never the reference while another has them."
    validation = {frozenset(item.validation.row_ids) for item in loaded if item.validation is not None}
    if len(validation) > 1:
        yield "The runs were validated on different rows, so the reference rests on unequal measurements."
    unlabelled = loaded[0].test.unlabelled
    if unlabelled:
        yield f"{unlabelled:,} test rows have no gold label and are left out everywhere."
    unanswered = [f"{item.run.name} ({item.test.unparsed:,})" for item in loaded if item.test.unparsed]
    if unanswered:
        yield f"Replies that could not be read count as wrong: {', '.join(unanswered)}."
    if loaded[0].test.sets is not None:
        yield "Texts may have several labels: accuracy is the share of texts whose whole set is right."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
