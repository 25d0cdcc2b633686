"""What a comparison holds: frozen records that become JSON as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from adjudge.compare.deciding import DECIDING, Deciding, DecidingMetric


@dataclass(frozen=True)
class Constant:
    """A published figure of others, shown beside the runs.

    Attributes:
        name: what reached it.
        accuracy: test accuracy, 0 to 1.
        source: where it was published.
    """

    name: str
    accuracy: float
    source: str


@dataclass(frozen=True)
class CompareOptions:
    """How to compare.

    Attributes:
        margin: how much of the metric (0.01 is one point) a cheaper method may lose to the reference and still be
            chosen.
        cost: the key of ``cost`` in run.json by which methods are cheap.
        metric: the metric of the choice, a key of `deciding.DECIDING`.
        resamples: draws behind every interval, bound and p-value.
        seed: of these draws.
        constants: published figures to test against.
        mistake_costs: gold label -> answer -> cost, for the metric ``cost``; None: as the runs' task says.
    """

    margin: float = 0.01
    cost: str = "prediction_seconds_per_1000_rows"
    metric: DecidingMetric = "macro_f1"
    resamples: int = 2000
    seed: int = 0
    constants: tuple[Constant, ...] = ()
    mistake_costs: Mapping[str, Mapping[str, float]] | None = None

    @property
    def deciding(self) -> Deciding:
        """The words and the unit of the metric."""
        return DECIDING[self.metric]


@dataclass(frozen=True)
class Spread:
    """A number over the seeds of a method.

    Attributes:
        values: one a seed, in the order of the group's seeds.
        sd: sample standard deviation (n - 1); None for a single seed.
    """

    mean: float
    sd: float | None
    minimum: float
    maximum: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class MethodGroup:
    """One method with one model and one config, over its seeds.

    Attributes:
        label: unique name in this comparison.
        runs: names of the run folders, by seed.
        validation: metric -> spread over the seeds; empty where the task has no validation rows.
        test: the same on test.
        intervals: ``accuracy`` and ``macro_f1`` -> 95% interval on test: over rows for one run (Wilson for
            accuracy, `intervals.macro_f1_interval`), over rows and seeds for several.
        costs: key of ``cost`` -> mean over the seeds; None where a run does not have it.
        truncated: share of test rows whose text was shortened.
        on_front: no other method is at least as good and as cheap, and better in one of the two.
        unparsed: share of test rows whose reply stands for no label, mean over the seeds; they count as wrong.
        deterministic: another seed would give the same answers, so one run speaks for the method.
        constant: every test row has the same answer: a floor that a method has to be above.
    """

    label: str
    method: str
    model: str | None
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    validation: Mapping[str, Spread]
    test: Mapping[str, Spread]
    intervals: Mapping[str, tuple[float, float]]
    costs: Mapping[str, float | None]
    labels_used: Mapping[str, int]
    truncated: float
    on_front: bool
    unparsed: float = 0.0
    deterministic: bool = False
    constant: bool = False

    @property
    def of_method(self) -> bool:
        """Whether what is shown is shown of the method; with one seed of several possible ones, only of that run."""
        return self.deterministic or len(self.seeds) > 1


@dataclass(frozen=True)
class LeftOut:
    """A run that could not be compared, and why."""

    run: str
    method: str
    model: str | None
    seed: int | None
    status: str
    reason: str


@dataclass(frozen=True)
class PairedTest:
    """One method against the reference on the same test rows: method minus reference, positive where it is better.

    Attributes:
        low: lower end of the two-sided 95% interval.
        high: upper end of it.
        lower_bound: one-sided 95% bound: the difference is at least this; of the metric of the choice and the cheaper
            methods, all of them together with 95% confidence. It decides whether a method is ``within`` the margin.
        p_value: two-sided, of no difference.
        p_adjusted: the same, Holm over all comparisons of this metric with the reference.
        p_beyond: one-sided, of a loss of the margin or more, adjusted as ``lower_bound`` is: at most 0.05 exactly
            where that lies above the margin.
        mcnemar_p: exact McNemar test, for pairs of single runs and accuracy; else None.
        detectable: the smallest true difference that this test set would have shown with 80% power at the two-sided
            5% level; None where the two never differ.
        rows_needed: test rows that would settle whether the loss exceeds the margin; None where it is settled
            or where no number of rows can be named.
        verdict: ``within``: the lower bound lies above -margin; ``beyond``: the whole interval lies below it;
            ``open``: neither is shown.
    """

    label: str
    metric: str
    difference: float
    low: float
    high: float
    lower_bound: float
    p_value: float
    p_adjusted: float
    p_beyond: float
    mcnemar_p: float | None
    detectable: float | None
    rows_needed: int | None
    verdict: Literal["within", "beyond", "open"]


@dataclass(frozen=True)
class ConstantTest:
    """A published accuracy against one method: exact binomial test that ignores the publisher's sampling error.

    Attributes:
        correct: correct test rows (mean over seeds, rounded down).
        p_value: exact, two-sided: chance of so far a count if the true accuracy were the published one.
        needed: the accuracy from which this test set would show an advantage at the 5% level; None if none can.
    """

    constant: Constant
    label: str
    correct: int
    rows: int
    p_value: float
    needed: float | None


@dataclass(frozen=True)
class Comparison:
    """Runs on the same test rows, with intervals, paired tests, costs, and the choice.

    Attributes:
        groups: by the metric's mean on validation, best first; where equal, by label.
        reference: label of the group that is the best on validation.
        differences: every other group against the reference, per metric.
        choice: label of the chosen group; None where this test set cannot tell.
        sentence: the choice in words.
        notes: what a reader has to know about the comparison itself.
    """

    task: str
    labels: tuple[str, ...]
    test_rows: int
    options: CompareOptions
    groups: tuple[MethodGroup, ...]
    left_out: tuple[LeftOut, ...]
    reference: str
    differences: tuple[PairedTest, ...]
    constants: tuple[ConstantTest, ...]
    choice: str | None
    sentence: str
    notes: tuple[str, ...]

    def group(self, label: str) -> MethodGroup:
        """The group of this label."""
        return next(group for group in self.groups if group.label == label)

    @property
    def chosen(self) -> MethodGroup:
        """The chosen group, or the reference where the choice is open."""
        return self.group(self.choice or self.reference)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON-ready values; numbers that are not finite become null."""
        return dict(_finite(asdict(self)))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value
