"""What the data gate found, on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from adjudge.cli.shared.screen import complain, print_table, results, shorten

if TYPE_CHECKING:
    from adjudge.core.types import Split
    from adjudge.data.gate import Report


STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
ROWS_SHOWN = 3
PAIRS_SHOWN = {"error": 3, "warning": 3, "note": 1}


def show_report(report: Report, accepted: list[str]) -> None:
    """Print the findings as a table with a verdict below."""
    document = report.to_json()
    console = results()
    sizes = ", ".join(f"{name} {split['rows']:,}" for name, split in document["splits"].items())
    console.print(f"[bold]rows:[/] {sizes}")
    findings = document["findings"]
    if findings:
        columns = ("code", "level", "splits", "count", "rows", "first rows", "what")
        body = [_finding_row(finding, accepted) for finding in findings]
        print_table(console, columns, body, numbers=("count", "rows"), widths={"code": 15, "what": 40})
    errors = report.errors(accepted)
    counts = [_counted(sum(finding["level"] == level for finding in findings), level) for level in STYLES]
    verdict = "[bold red]not fit to train on[/]" if errors else "[bold green]no errors[/]"
    console.print(f"{verdict}: {', '.join(counts)}")
    if errors:
        codes = ", ".join(sorted({finding.code for finding in errors}))
        complain(f"repair the data, or accept knowingly with `accept: [{codes}]` under `data`", mark="hint")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _finding_row(finding: dict[str, Any], accepted: list[str]) -> tuple[str, ...]:
    level = finding["level"]
    word = f"{level} (accepted)" if level == "error" and finding["code"] in accepted else level
    return (
        escape(finding["code"]),
        f"[{STYLES[level]}]{word}[/]",
        escape(" & ".join(finding["splits"])),
        f"{finding['count']:,}",
        f"{finding['count_rows']:,}",
        _first_rows(finding),
        escape(finding["message"]),
    )


def _first_rows(finding: dict[str, Any]) -> str:
    by_split: dict[str, list[int]] = {}
    for place in finding["rows"]:
        by_split.setdefault(place["split"], []).append(place["row"])
    parts = []
    for split, rows in by_split.items():
        more = " …" if len(rows) > ROWS_SHOWN or finding["rows_truncated"] else ""
        parts.append(f"{split} {', '.join(map(str, rows[:ROWS_SHOWN]))}{more}")
    return escape("; ".join(parts))


def show_pairs(report: Report, splits: Mapping[str, Split]) -> None:
    """Print a few pairs of near texts of each finding that has some, side by side."""
    console = results()
    rows = {
        name: {row: i for i, row in enumerate(split.row_numbers or range(1, len(split) + 1))}
        for name, split in splits.items()
    }
    for finding in report.findings:
        for number, pair in enumerate(finding.pairs[: PAIRS_SHOWN[finding.level]]):
            if not number:
                console.print(f"[bold]{escape(finding.code)}[/] {escape(' & '.join(finding.splits))}")
            label = "same label" if pair["same_label"] else "[yellow]other label[/]"
            console.print(f"  {pair['equal_words']:.0%} of the words equal, {label}")
            for place in pair["rows"]:
                text = splits[place["split"]].texts[rows[place["split"]][place["row"]]]
                where = f"{place['split']} {place['row']}"
                console.print(f"    [dim]{escape(where)}:[/] {escape(shorten(text, 100))}", soft_wrap=True)
