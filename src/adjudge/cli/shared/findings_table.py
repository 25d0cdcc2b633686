"""What the data gate found, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from adjudge.cli.shared.screen import complain, print_table, results

if TYPE_CHECKING:
    from adjudge.data.gate import Report


STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
ROWS_SHOWN = 3


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
