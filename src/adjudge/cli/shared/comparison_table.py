"""A comparison on the screen: the table, the notes and the choice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from adjudge.cli.shared.screen import print_table

if TYPE_CHECKING:
    from adjudge.compare.results import Comparison


def show_comparison(comparison: Comparison, console: Console, report: Path | None = None) -> None:
    """Print the table, the notes, the choice in one sentence, and the report's path."""
    from adjudge.compare.tables import p_text, rows

    cells = rows(comparison)
    columns = list(cells[0])
    body = [[escape(str(row[column])) for column in columns] for row in cells]
    print_table(console, columns, body, numbers=columns[1:])
    if comparison.constants:
        published = [
            (
                escape(f"{test.constant.name} ({test.constant.source})"),
                f"{test.constant.accuracy:.4f}",
                escape(test.label),
                f"{test.correct:,} of {test.rows:,}",
                p_text(test.p_value),
            )
            for test in comparison.constants
        ]
        columns = ["published", "accuracy", "method", "correct", "p (two-sided)"]
        print_table(console, columns, published, numbers=("accuracy", "correct", "p (two-sided)"))
    for left in comparison.left_out:
        console.print(f"[yellow]left out[/] {escape(left.run)}: {escape(left.reason)}", soft_wrap=True)
    for note in comparison.notes:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    console.print(f"\n[bold]{escape(comparison.sentence)}[/]", soft_wrap=True)
    if report is not None:
        console.print(f"report: {escape(str(report))}", soft_wrap=True)
