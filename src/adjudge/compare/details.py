"""What the report tells about one method: confusion, calibration, learning curve, slices, facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy.special import expit

from adjudge.compare.fairness import LoadedRun
from adjudge.compare.results import MethodGroup
from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.calibration import reliability, softmax
from adjudge.evaluate.intervals import wilson_interval
from adjudge.evaluate.metrics import NO_ANSWER, classification_metrics
from adjudge.evaluate.sets import set_metrics
from adjudge.evaluate.slices import LENGTH_COLUMNS, META_PREFIX, metrics_by_slice, slice_columns
from adjudge.render.charts.lines import Bins, Series, curves, reliability_diagram

MOST_LABELS = 24
"""Beyond this many labels the matrix is unreadable, and the pairs most often confused are listed instead."""

MOST_PAIRS = 25
MOST_POINTS = 150
BINS = 10
SHOWN_ELSEWHERE = frozenset({"scorings", "display", "kind", "model", "batch_invariance"})


@dataclass(frozen=True)
class Calibration:
    """Reliability before and after temperature scaling, over the answers (``rows`` of them) of all seeds."""

    chart: Markup
    error_before: float
    error_after: float
    rows: int


@dataclass(frozen=True)
class Slice:
    """One part of the test rows; numbers are means over seeds, the interval is Wilson's of the first seed."""

    name: str
    rows: int
    accuracy: float
    low: float
    high: float
    macro_f1: float


@dataclass(frozen=True)
class Curve:
    """A learning curve with what its lines mean."""

    chart: Markup
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Details:
    """Everything below a method's heading.

    Attributes:
        confusion: ``[C][C]`` test rows by gold and answer, summed over seeds; None beyond `MOST_LABELS`.
        confused: (gold, answer, rows, share of the gold label's rows), most frequent first; None of several labels.
        per_class: label -> precision, recall, F1 and support, over the rows of all seeds.
        recalls: label -> Wilson's 95% interval of its recall (the mean over seeds) on its test rows.
        slices: title -> slices.
        scorings: ways of scoring tried side by side, as (headers, rows); None where there are none.
        facts: name -> value, as text.
    """

    group: MethodGroup
    confusion: list[list[int]] | None
    confused: list[tuple[str, str, int, float]] | None
    per_class: Mapping[str, Mapping[str, float]]
    recalls: Mapping[str, tuple[float, float]]
    calibration: Calibration
    curves: tuple[Curve, ...]
    slices: Mapping[str, tuple[Slice, ...]]
    scorings: tuple[list[str], list[list[str]]] | None
    facts: Mapping[str, str]


def details_of(group: MethodGroup, members: Sequence[LoadedRun]) -> Details:
    """Recompute what the report shows of one method from the run folders of its seeds."""
    labels = members[0].labels
    gold = np.concatenate([m.test.gold for m in members])
    predicted = np.concatenate([m.test.predicted for m in members])
    probs = np.concatenate([m.test.probs for m in members])
    sets = members[0].test.sets
    if sets is None:
        pooled = classification_metrics(gold, probs, labels, predicted=predicted)
    else:  # no answer stands for one other: there is no confusion
        pooled = {"confusion": None, **set_metrics(sets[gold], sets[predicted], probs, labels)}
    confusion, per_class = pooled["confusion"], pooled["per_class"]
    return Details(
        group=group,
        confusion=confusion if len(labels) <= MOST_LABELS else None,
        confused=None if confusion is None else _confused(confusion, per_class, labels),
        per_class=per_class,
        recalls={label: _recall_interval(one, len(members)) for label, one in per_class.items()},
        calibration=_calibration(group.label, members, gold, predicted),
        curves=tuple(_curves(group.label, members)),
        slices=_slices(members),
        scorings=_scorings((members[0].record.get("facts") or {}).get("scorings")),
        facts=_facts(group, members),
    )


def _recall_interval(one: Mapping[str, float], seeds: int) -> tuple[float, float]:
    rows = round(one["support"] / seeds)
    return wilson_interval(round(one["recall"] * rows), rows) if rows else (0.0, 1.0)


def _confused(
    confusion: Sequence[Sequence[int]], per_class: Mapping[str, Mapping[str, Any]], labels: Sequence[str]
) -> list[tuple[str, str, int, float]]:
    pairs = [
        (labels[i], labels[j], count, count / per_class[labels[i]]["support"])
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:MOST_PAIRS]


def _calibration(label: str, members: Sequence[LoadedRun], gold: IntArray, predicted: IntArray) -> Calibration:
    title = f"{label}: accuracy by confidence, before and after calibration"
    sets = members[0].test.sets
    if sets is not None:  # every label's probability against whether the text has the label
        held, logits = sets[gold].ravel(), np.concatenate([m.test.logits for m in members])
        shown = np.concatenate([m.test.probs for m in members])
        both = [_bins(probs.ravel(), held) for probs in (expit(logits.astype(np.float64)), shown)]
        return Calibration(reliability_diagram(both[0][0], both[1][0], title), both[0][1], both[1][1], held.size)
    answered = predicted != NO_ANSWER
    correct = (gold == predicted)[answered]
    if not len(correct):
        return Calibration(Markup(""), float("nan"), float("nan"), 0)
    after = np.concatenate([m.test.probs for m in members])[answered]
    before = softmax(np.concatenate([m.test.logits for m in members])[answered])
    found = [_bins(probs[np.arange(len(correct)), predicted[answered]], correct) for probs in (before, after)]
    return Calibration(reliability_diagram(found[0][0], found[1][0], title), found[0][1], found[1][1], len(correct))


def _bins(confidence: FloatArray, correct: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[Bins, float]:
    table = reliability(confidence, correct, BINS)
    filled = table.count > 0
    bins = Bins(
        confidence=tuple(table.confidence[filled].tolist()),
        accuracy=tuple(table.accuracy[filled].tolist()),
        count=tuple(table.count[filled].tolist()),
    )
    return bins, table.expected_error


def _curves(label: str, members: Sequence[LoadedRun]) -> Iterator[Curve]:
    logs = [list(member.run.log()) for member in members]
    scores = [
        *_series(logs, "evaluation", "macro_f1", "validation macro-F1", "solid"),
        *_series(logs, "evaluation", "accuracy", "validation accuracy", "dashed"),
    ]
    losses = [
        *_series(logs, "step", "loss", "training loss", "faint"),
        *_series(logs, "evaluation", "loss", "validation loss", "solid"),
    ]
    for series, what in ((scores, "validation scores"), (losses, "losses")):
        if series:
            legend = tuple(dict.fromkeys((one.name, one.style) for one in series))
            yield Curve(curves(series, f"{label}: {what} by training rows seen", "training rows seen"), legend)


def _series(
    logs: Sequence[Sequence[Mapping[str, Any]]], event: str, key: str, name: str, style: str
) -> Iterator[Series]:
    for log in logs:
        points = [
            (float(item["rows_seen"]), float(item[key]))
            for item in log
            if item.get("event") == event and item.get(key) is not None and item.get("rows_seen") is not None
        ]
        if len(points) > 1 or (points and event == "evaluation"):
            yield Series(name, tuple(_thinned(points)), style)


def _thinned(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """At most `MOST_POINTS`, each the mean of its neighbours."""
    for part in np.array_split(np.array(points), min(len(points), MOST_POINTS)):
        x, y = part.mean(axis=0)
        yield float(x), float(y)


def _slices(members: Sequence[LoadedRun]) -> dict[str, tuple[Slice, ...]]:
    found: dict[str, tuple[Slice, ...]] = {}
    for column in slice_columns(members[0].test_table):
        each = [metrics_by_slice(m.test_table, m.test, len(m.labels), column) for m in members]
        title = "characters" if column in LENGTH_COLUMNS else column.removeprefix(META_PREFIX)
        found[title] = tuple(
            Slice(
                name=name,
                rows=first["n"],
                accuracy=_mean([one[name]["accuracy"] for one in each]),
                low=first["accuracy_interval"][0],
                high=first["accuracy_interval"][1],
                macro_f1=_mean([one[name]["macro_f1"] for one in each]),
            )
            for name, first in each[0].items()
        )
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _scorings(value: Any) -> tuple[list[str], list[list[str]]] | None:
    """A table of ``{"raw": {"macro_f1": 0.4, …}, …}``; anything else in that place is not shown."""
    if not isinstance(value, Mapping) or not value:
        return None
    rows = {str(name): item if isinstance(item, Mapping) else {"value": item} for name, item in value.items()}
    headers = list(dict.fromkeys(str(key) for row in rows.values() for key in row))
    return ["scoring", *headers], [[name, *(_fact(row.get(h)) or "–" for h in headers)] for name, row in rows.items()]


def _facts(group: MethodGroup, members: Sequence[LoadedRun]) -> dict[str, str]:
    record = members[0].record
    model = record.get("model") or {}
    template = record.get("template") or {}
    values: dict[str, Any] = {
        "runs": ", ".join(group.runs),
        "model": model.get("id"),
        "model hash": str(model.get("hash") or "")[:12] or None,
        "model license": model.get("license"),
        "prompt": f"{template.get('kind')}, {str(template.get('hash'))[:12]}" if template else None,
        "labels used": ", ".join(f"{name} {count:,}" for name, count in group.labels_used.items()),
        "temperature": ", ".join(
            f"{(m.record.get('calibration') or {}).get('temperature', 1.0):.3g}" for m in members
        ),
        "texts shortened": f"{group.truncated:.1%} of the test rows",
        "replies unparsed": f"{group.unparsed:.1%} of the test rows" if group.unparsed else None,
        "asked alone or among others": "; ".join(filter(None, (_neighbours(m.record) for m in members))) or None,
    }
    for name, source in (("option", (record["config"].get("method") or {})), ("fact", record.get("facts") or {})):
        values |= {f"{name}: {key}": item for key, item in _leaves(source) if key.split(".")[0] not in SHOWN_ELSEWHERE}
    return {name: text for name, value in values.items() if (text := _fact(value))}


def _neighbours(record: Mapping[str, Any]) -> str:
    """How far a run's probabilities depend on what is predicted beside them; empty where they do not."""
    measured = (record.get("facts") or {}).get("batch_invariance")
    if not measured:
        return ""
    text = (
        f"probabilities differ by {measured['tolerance']:g} at most ({measured['largest_difference']:.1g} measured on "
        f"{measured['rows']} texts)"
    )
    ties = measured.get("near_ties")
    if ties is None:
        return text
    rows = ", ".join(f"{count:,} {name}" for name, count in ties.items())
    return f"{text}; rows so near a tie that this could change their answer: {rows}"


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _fact(value: Any) -> str | None:
    """A number, a word or a short list as text; None for what is too long for a table."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = ", ".join(_fact(item) or "–" for item in value) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 400 else None
