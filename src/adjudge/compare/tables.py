"""A comparison as tables of text: Markdown, and columns that a terminal can lay out."""

from __future__ import annotations

from collections.abc import Sequence

from adjudge.compare.costs import COSTS, write_cost
from adjudge.compare.deciding import Deciding
from adjudge.compare.results import Comparison, ConstantTest, MethodGroup, PairedTest, Spread


def rows(comparison: Comparison) -> list[dict[str, str]]:
    """The leaderboard, one mapping of header to text per method, the best on validation first.

    All rows have the same headers in the same order; the first names the method.
    """
    return [_row(comparison, group) for group in comparison.groups]


def any_unparsed(comparison: Comparison) -> bool:
    """Whether some method's replies could not all be read; only then do tables have a column for it."""
    return any(group.unparsed for group in comparison.groups)


def _row(comparison: Comparison, group: MethodGroup) -> dict[str, str]:
    metric, cost = comparison.options.metric, comparison.options.cost
    deciding = comparison.options.deciding
    test = next((t for t in comparison.differences if (t.label, t.metric) == (group.label, metric)), None)
    return {
        "method": group.label,
        "role": standing(comparison, group),
        "seeds": str(len(group.runs)),
        "validation macro-F1": _mean(group.validation.get("macro_f1")),
        "test macro-F1": _mean(group.test["macro_f1"]),
        "95%": _interval(group.intervals["macro_f1"]),
        "test accuracy": _mean(group.test["accuracy"]),
        **({"unparsed": f"{group.unparsed:.1%}"} if any_unparsed(comparison) else {}),
        **_own_metric(comparison, group),
        f"Δ {deciding.title}, {deciding.unit[1]}": _difference(test, deciding),
        "p (Holm)": "–" if test is None else p_text(test.p_adjusted),
        COSTS[cost].title: write_cost(cost, group.costs.get(cost)),
    }


def standing(comparison: Comparison, group: MethodGroup) -> str:
    """``choice``, ``reference``, both or nothing."""
    words = []
    if group.label == comparison.choice:
        words.append("choice")
    if group.label == comparison.reference:
        words.append("reference")
    return ", ".join(words)


def markdown_table(comparison: Comparison) -> str:
    """The sentence, the leaderboard, published constants and the runs left out, as Markdown."""
    board = rows(comparison)
    lines = [_escaped(comparison.sentence), "", *_table(list(board[0]), [list(row.values()) for row in board])]
    if comparison.constants:
        lines += ["", "Published figures, tested exactly and without their publisher's own sampling error:", ""]
        lines += _table(
            ["published", "accuracy", "method", "correct", "p (two-sided)", "accuracy needed"],
            [_constant(test) for test in comparison.constants],
        )
    if comparison.left_out:
        lines += ["", "Left out:", ""]
        lines += _table(["run", "status", "reason"], [(x.run, x.status, x.reason) for x in comparison.left_out])
    if comparison.notes:
        lines += ["", *[f"- {_escaped(note)}" for note in comparison.notes]]
    return "\n".join(lines) + "\n"


def _table(headers: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [headers, ["---"] * len(headers), *body]
    return [
        "| " + " | ".join(cell if i == 1 else _escaped(cell) for cell in line) + " |" for i, line in enumerate(lines)
    ]


def _escaped(text: str) -> str:
    """Text that stays text in Markdown: one line, no markup, no cell border."""
    single = " ".join(text.split())
    for raw, safe in (
        ("\\", "\\\\"),
        ("&", "&amp;"),
        ("<", "&lt;"),
        ("|", "\\|"),
        ("`", "\\`"),
        ("*", "\\*"),
        ("[", "\\["),
    ):
        single = single.replace(raw, safe)
    return single


def _constant(test: ConstantTest) -> tuple[str, ...]:
    needed = "none suffices" if test.needed is None else f"{test.needed:.4f}"
    constant = test.constant
    counted = f"{test.correct:,} of {test.rows:,}"
    return (
        f"{constant.name} ({constant.source})",
        f"{constant.accuracy:.4f}",
        test.label,
        counted,
        p_text(test.p_value),
        needed,
    )


def _mean(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{spread.mean:.3f}" if spread.sd is None else f"{spread.mean:.3f} ± {spread.sd:.3f}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f}–{interval[1]:.3f}"


def _own_metric(comparison: Comparison, group: MethodGroup) -> dict[str, str]:
    """The metric of the choice where the table does not have it anyway."""
    metric = comparison.options.metric
    if metric in ("macro_f1", "accuracy"):
        return {}
    return {f"test {comparison.options.deciding.title}": _mean(group.test[metric])}


def _difference(test: PairedTest | None, deciding: Deciding) -> str:
    if test is None:
        return "–"
    return f"{deciding.signed(test.difference)} ({deciding.signed(test.low)} to {deciding.signed(test.high)})"


def p_text(value: float) -> str:
    """A p-value to three digits, never as 0."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
