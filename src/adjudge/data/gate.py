"""The data gate: what is wrong with the rows, before anything is trained on them.

    report = check({"train": train, "validation": validation, "test": test})
    report.errors(accept=["overlap"])  # what should stop a run

Every check is a function over columns of all splits (`adjudge.data.checks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adjudge.core.errors import ConfigError, did_you_mean
from adjudge.core.problem import SINGLE, Problem
from adjudge.core.protocols import Progress, SilentProgress
from adjudge.core.types import Split
from adjudge.data.checks import CHECKS
from adjudge.data.checks.contract import LEVELS, Context, Finding, GateOptions, Level
from adjudge.data.checks.corpus import Corpus, build_corpus
from adjudge.data.checks.labels import label_counts

__all__ = ["CODES", "Finding", "GateOptions", "Level", "Report", "check"]

CODES: dict[str, str] = {code: meaning for entry in CHECKS for code, meaning in entry.codes.items()}
"""Every code with its meaning in one line."""

_DEFAULTS = GateOptions()


@dataclass(frozen=True)
class Report:
    """What the gate found.

    Attributes:
        findings: errors first, then warnings and notes; within a level by code, then in the order of the splits.
        splits: name -> ``{"rows": int, "labels": {label: rows}, "source": str}``; labels as written, sorted.
    """

    findings: tuple[Finding, ...]
    splits: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The stable interface: ``{"findings": […], "splits": {…}}``, as in ``check.json``."""
        return {"findings": [finding.to_json() for finding in self.findings], "splits": self.splits}

    def errors(self, accept: Sequence[str] = ()) -> list[Finding]:
        """The findings that stop a run.

        Args:
            accept: codes that the user accepts knowingly.

        Raises:
            ConfigError: a code that does not exist.
        """
        unknown = [code for code in accept if code not in CODES]
        if unknown:
            raise ConfigError(
                [f"accept: unknown code of a data finding {code!r}; {did_you_mean(code, CODES)}" for code in unknown]
            )
        return [finding for finding in self.findings if finding.level == "error" and finding.code not in accept]


def check(
    splits: Mapping[str, Split],
    *,
    labels: Sequence[str] | None = None,
    options: GateOptions = _DEFAULTS,
    progress: Progress | None = None,
    problem: Problem = SINGLE,
) -> Report:
    """Run every check over the splits of a task.

    Args:
        splits: name -> rows, in the order in which they are to be reported. Not changed.
        labels: the closed label set; default: the labels of ``train``, or of all splits where there is no train.
        options: thresholds, and the callables that token lengths and label noise need.
        progress: where long checks report.
        problem: how many labels a text has. Wrong labels (``label_noise``) are looked for where it has one.

    Returns:
        The findings and the size of each split. Equal input gives an equal report.
    """
    shown = progress or SilentProgress()
    corpus = build_corpus(splits, problem)
    context = Context(corpus, _label_set(corpus, labels), options, shown, problem)
    findings: list[Finding] = []
    with shown.task("Checking the data", len(CHECKS)) as advance:
        for entry in CHECKS:
            findings += entry.run(context)
            advance(1)
    findings.sort(
        key=lambda found: (LEVELS.index(found.level), found.code, [corpus.names.index(name) for name in found.splits])
    )
    return Report(tuple(findings), _describe(corpus))


def _label_set(corpus: Corpus, labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is not None:
        return tuple(labels)
    counts = label_counts(corpus)
    rows = counts[corpus.names.index("train")] if "train" in corpus.names else counts.sum(axis=0)
    return tuple(sorted(label for label, size in zip(corpus.written, rows.tolist(), strict=True) if size))


def _describe(corpus: Corpus) -> dict[str, dict[str, Any]]:
    counts = label_counts(corpus).tolist()
    return {
        name: {
            "rows": int(corpus.of(index).sum()),
            "labels": {label: size for label, size in sorted(zip(corpus.written, counts[index], strict=True)) if size},
            "source": corpus.sources[index],
        }
        for index, name in enumerate(corpus.names)
    }
