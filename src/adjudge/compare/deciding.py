"""The metrics by which a choice can be made: their words, their margins, and what every test row says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adjudge.core.errors import ConfigError
from adjudge.core.types import FloatArray
from adjudge.evaluate.arrays import Arrays
from adjudge.evaluate.metrics import NO_ANSWER, PROBABILITY_FLOOR
from adjudge.evaluate.population import Draws

DecidingMetric = Literal["macro_f1", "accuracy", "mcc", "log_loss", "cost"]


@dataclass(frozen=True)
class Deciding:
    """A metric that can decide.

    Attributes:
        title: its name in sentences and tables.
        margin: how much of it a cheaper method may lose, unless said otherwise.
        unit: of a difference, singular and plural.
        scale: factor from the metric to that unit.
        digits: decimals of a difference.
        sign: 1 where higher is better, -1 where lower is.
    """

    title: str
    margin: float
    unit: tuple[str, str]
    scale: float = 100.0
    digits: int = 1
    sign: int = 1

    def amount(self, value: float) -> str:
        """A size with its unit: ``1 point``, ``0.02 nats``."""
        number = f"{self.scale * value:g}"
        return f"{number} {self.unit[0] if number == '1' else self.unit[1]}"

    def signed(self, value: float) -> str:
        """A difference with its sign and a true minus, without the unit: ``−0.3``, ``+1.2``, ``0.0``."""
        text = f"{self.scale * value:+.{self.digits}f}"
        return text[1:] if float(text) == 0 else text.replace("-", "−")


_POINTS = ("point", "points")
DECIDING: Mapping[str, Deciding] = {
    "macro_f1": Deciding("macro-F1", 0.01, _POINTS),
    "accuracy": Deciding("accuracy", 0.01, _POINTS),
    "mcc": Deciding("MCC", 0.01, _POINTS),
    "log_loss": Deciding("log loss", 0.02, ("nat", "nats"), scale=1.0, digits=3, sign=-1),
    "cost": Deciding("mistake cost", 0.01, ("a text", "a text"), scale=1.0, digits=3, sign=-1),
}


def row_scores(metric: DecidingMetric, costs: FloatArray | None) -> Callable[[Arrays], Draws]:
    """What every row says of a metric that is a mean over rows, ``[N]``, higher is better.

    Raises:
        ConfigError: ``cost`` without costs, or (when called) for a multi-label task.
    """
    if metric == "accuracy":
        return lambda arrays: (arrays.predicted == arrays.gold).astype(np.float64)
    if metric == "log_loss":
        return _negative_log_loss
    if costs is None:
        raise ConfigError(
            "metric 'cost' needs the costs of mistakes: `mistakes` of the labels in the task file "
            "(urgent: {mistakes: {later: 10}}), or --costs FILE (urgent: {later: 10})"
        )
    table = np.column_stack([costs, np.max(costs, axis=1)])  # an unread reply costs as much as the worst answer

    def score(arrays: Arrays) -> Draws:
        if arrays.sets is not None:
            raise ConfigError("metric 'cost' is for tasks with one label for each text; use accuracy or macro_f1")
        return np.asarray(-table[arrays.gold, arrays.predicted], dtype=np.float64)

    return score


def costs_of_labels(labels: Any) -> dict[str, dict[str, float]]:
    """``mistakes`` of the labels of a task (as in its file or in run.json), by label; empty where there are none."""
    named = labels.items() if isinstance(labels, Mapping) else ()
    return {
        label: dict(info["mistakes"]) for label, info in named if isinstance(info, Mapping) and info.get("mistakes")
    }


def cost_matrix(costs: Mapping[str, Mapping[str, float]], labels: Sequence[str]) -> FloatArray:
    """Costs as ``[C, C]``, gold by row and answer by column; a mistake that is not named costs 1, a right answer 0.

    Raises:
        ConfigError: labels that the task does not have, a cost below 0 or not finite, or a cost of a right answer.
    """
    place = {label: i for i, label in enumerate(labels)}
    matrix = 1.0 - np.eye(len(labels))
    problems: list[str] = []
    for gold, row in costs.items():
        for answer, cost in row.items():
            unknown = [label for label in (gold, answer) if label not in place]
            if unknown:
                problems.append(f"costs of mistakes: {unknown[0]!r} is no label; labels: {', '.join(labels)}")
            elif gold == answer or not 0 <= cost < float("inf"):
                problems.append(
                    f"costs of mistakes: {gold!r} answered as {answer!r} costs {cost}; costs are of mistakes, ≥ 0"
                )
            else:
                matrix[place[gold], place[answer]] = cost
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return matrix


def _negative_log_loss(arrays: Arrays) -> Draws:
    rows = np.arange(len(arrays.gold))
    wide = arrays.probs.astype(np.float64)
    if arrays.sets is not None:
        held = arrays.sets[arrays.gold]
        of_gold = np.clip(np.where(held, wide, 1 - wide), PROBABILITY_FLOOR, 1.0)
        return np.asarray(np.log(of_gold).mean(axis=1), dtype=np.float64)
    of_gold = np.where(arrays.predicted == NO_ANSWER, 1 / wide.shape[1], wide[rows, arrays.gold])
    return np.asarray(np.log(np.clip(of_gold, PROBABILITY_FLOOR, 1.0)), dtype=np.float64)
