"""How a run made from others compares with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from adjudge.cli.shared.screen import print_table, results

if TYPE_CHECKING:
    from adjudge.core.runs import Run


def show_derived(run: Run) -> None:
    """Print how a run made from others compares with each of them, on the same rows."""
    record = run.record()
    console = results()
    columns = (
        "against",
        "rows",
        "changed",
        "accuracy",
        "difference (95%)",
        "McNemar p",
        "macro-F1",
        "difference (95%)",
    )
    rows = []
    for test in record["facts"]["paired"]:
        scores = [(test[metric], f"{test[metric]['before']:.4f} → {test[metric]['after']:.4f}") for metric in _METRICS]
        cells = [(shown, f"{one['difference']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]") for one, shown in scores]
        (accuracy, gap), (macro_f1, other_gap) = cells
        counts = (f"{test['rows']:,} {test['split']}", f"{test['changed']:,}")
        rows.append(
            [
                escape(cell)
                for cell in (test["run"], *counts, accuracy, gap, f"{test['mcnemar_p']:.3g}", macro_f1, other_gap)
            ]
        )
    print_table(console, columns, rows, numbers=columns[1:])
    trip = record["facts"]["round_trip"]
    console.print(
        f"[dim]fresh process: largest difference {trip['largest_difference']:.2g} on {trip['rows']} texts "
        f"(allowed {trip['tolerance']:g})[/]",
        soft_wrap=True,
    )
    console.print(f"run: {escape(str(run.path))}", soft_wrap=True)


_METRICS = ("accuracy", "macro_f1")
