"""Runs grouped into methods: one group per method, model and config, over its seeds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adjudge.compare.costs import mean_costs
from adjudge.compare.deciding import row_scores
from adjudge.compare.fairness import LoadedRun, config_key
from adjudge.compare.results import CompareOptions, MethodGroup, Spread
from adjudge.core.types import FloatArray, IntArray
from adjudge.evaluate.arrays import Arrays
from adjudge.evaluate.intervals import macro_f1_interval, wilson_interval
from adjudge.evaluate.metrics import classification_metrics
from adjudge.evaluate.population import mean_values
from adjudge.evaluate.sets import set_metrics

METRICS = ("accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "mcc", "log_loss", "brier", "ece")
SET_METRICS = ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "hamming_loss", "mcc", "log_loss", "brier", "ece")


def members_by_label(loaded: Sequence[LoadedRun]) -> dict[str, list[LoadedRun]]:
    """The runs of every group by the group's label, each group's runs by seed."""
    by_key: dict[str, list[LoadedRun]] = {}
    for item in loaded:
        by_key.setdefault(config_key(item.record), []).append(item)
    groups = [sorted(items, key=lambda i: (_seed(i), i.run.name)) for items in by_key.values()]
    return dict(zip(_labels([group[0].record for group in groups]), groups, strict=True))


def make_group(
    label: str, members: Sequence[LoadedRun], options: CompareOptions, costs: FloatArray | None = None
) -> MethodGroup:
    """Metrics, intervals and costs of one group; ``on_front`` is settled when all groups are known.

    Args:
        label: unique name.
        members: its runs, by seed.
        options: draws of the intervals.
        costs: ``[C, C]`` of mistakes, where they are known: then ``cost`` is one of the metrics.
    """
    record = members[0].record
    used = record.get("labels_used") or {}
    shortened = [float(m.test_table["truncated"].sum()) / len(m.test_table) for m in members]
    return MethodGroup(
        label=label,
        method=str(record["method"]),
        model=(record.get("model") or {}).get("id"),
        runs=tuple(m.run.name for m in members),
        seeds=tuple(_seed(m) for m in members),
        validation=_spreads([m.validation for m in members], members[0].labels, costs),
        test=_spreads([m.test for m in members], members[0].labels, costs),
        intervals=_intervals(members, options),
        costs=mean_costs([m.record for m in members]),
        labels_used={key: int(value) for key, value in used.items()},
        truncated=statistics.fmean(shortened),
        on_front=False,
        unparsed=statistics.fmean(m.test.unparsed / len(m.test.gold) for m in members),
        deterministic=all(bool((m.record.get("facts") or {}).get("deterministic")) for m in members),
        constant=all(len(np.unique(m.test.predicted)) == 1 for m in members),
    )


def stacked(members: Sequence[LoadedRun]) -> IntArray:
    """Answers on test, ``[S, N]``."""
    return np.stack([member.test.predicted for member in members])


def dominated(group: MethodGroup, others: Sequence[MethodGroup], options: CompareOptions) -> bool:
    """Whether another group is at least as good and as cheap, and better in one of the two.

    A group whose cost was not measured cannot be placed, so it counts as dominated.
    """
    price, score = group.costs.get(options.cost), test_score(group, options)
    if price is None:
        return True
    for other in others:
        other_price, other_score = other.costs.get(options.cost), test_score(other, options)
        if other is group or other_price is None or other_price > price or other_score < score:
            continue
        if other_price < price or other_score > score:
            return True
    return False


def test_score(group: MethodGroup, options: CompareOptions) -> float:
    """The group's mean of the metric of the choice on test, higher is better."""
    return options.deciding.sign * group.test[options.metric].mean


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation, minimum and maximum."""
    return Spread(
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        minimum=min(values),
        maximum=max(values),
        values=tuple(values),
    )


def _spreads(arrays: Sequence[Arrays | None], labels: Sequence[str], costs: FloatArray | None) -> dict[str, Spread]:
    known = [one for one in arrays if one is not None]
    if not known or len(known) < len(arrays):
        return {}
    scores = [_scores(one, labels) for one in known]
    names = METRICS if known[0].sets is None else SET_METRICS
    spreads = {name: spread([float(score[name]) for score in scores]) for name in names}
    if costs is not None:
        spreads["cost"] = spread([-float(row_scores("cost", costs)(one).mean()) for one in known])
    return spreads


def _scores(arrays: Arrays, labels: Sequence[str]) -> dict[str, Any]:
    if arrays.sets is None:
        return classification_metrics(arrays.gold, arrays.probs, labels, predicted=arrays.predicted)
    return set_metrics(arrays.sets[arrays.gold], arrays.sets[arrays.predicted], arrays.probs, labels)


def _intervals(members: Sequence[LoadedRun], options: CompareOptions) -> dict[str, tuple[float, float]]:
    gold, predicted = members[0].test.gold, stacked(members)
    draws = {"resamples": options.resamples, "seed": options.seed}
    macro_f1 = macro_f1_interval(gold, predicted, members[0].test.classes(members[0].labels), **draws)
    right = (predicted == gold).astype(np.float64)
    if len(members) == 1:
        return {"accuracy": wilson_interval(int(right.sum()), len(gold)), "macro_f1": macro_f1}
    values = mean_values([right], (0.0, 1.0), **draws)[0]
    low, high = np.quantile(values.lost + values.spread, 0.025), np.quantile(values.won + values.spread, 0.975)
    return {"accuracy": (max(0.0, float(low)), min(1.0, float(high))), "macro_f1": macro_f1}


def _seed(item: LoadedRun) -> int:
    return int(item.record["config"].get("seed") or 0)


def _labels(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Short unique names: method and model, and the options in which groups of one name differ."""
    bases = [_base(record) for record in records]
    flat = [_flattened(record["config"].get("method") or {}) for record in records]
    whole = [
        _flattened({k: v for k, v in record["config"].items() if k not in {"method", "seed"}}) for record in records
    ]
    labels: list[str] = []
    for i, base in enumerate(bases):
        same = [j for j, other in enumerate(bases) if other == base]
        told = [_told_apart(options, i, same) for options in (flat, whole)]
        # What surrounds the method is named only where the method's own options do not tell the groups apart.
        alike = sum(flat[j] == flat[i] for j in same) > 1
        named = [*told[0], *(told[1] if alike else [])]
        labels.append(" · ".join([base, *named]))
    seen: Counter[str] = Counter()
    unique: list[str] = []
    for label in labels:
        seen[label] += 1
        unique.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return unique


def _base(record: Mapping[str, Any]) -> str:
    model = (record.get("model") or {}).get("id")
    short = str(model).rstrip("/").rsplit("/", 1)[-1] if model else None
    return " · ".join([str(record.get("display") or record["method"]), *([short] if short else [])])


def _told_apart(options: Sequence[Mapping[str, Any]], i: int, same: Sequence[int]) -> list[str]:
    keys = sorted({key for j in same for key in options[j]})
    different = [key for key in keys if len({str(options[j].get(key)) for j in same}) > 1]
    return [f"{key.rsplit('.', 1)[-1]}={options[i].get(key)}" for key in different]


def _flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flattened(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat
