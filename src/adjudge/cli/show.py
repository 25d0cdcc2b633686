"""`adjudge show`: one run, readable."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from adjudge.cli.shared.folders import one_run
from adjudge.cli.shared.metrics_table import metrics_table
from adjudge.cli.shared.screen import duration, print_json, results, shorten, size, table

EPILOG = """\
[bold]Examples[/]

  adjudge show runs/reviews/tfidf-s0-1a2b3c4d
  adjudge show runs/reviews/tfidf-s0-1a2b3c4d --json

The folder of a run is printed by adjudge run."""

STATUS_STYLES = {"complete": "green", "failed": "bold red", "interrupted": "yellow", "running": "yellow"}


def show(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="run.json and metrics.json as one JSON document.")] = False,
) -> None:
    """Show one run: what was run, on which data, how well, and at what cost."""
    opened = one_run(run)
    record = opened.record()
    metrics = opened.metrics() if (opened.path / "metrics.json").is_file() else {}
    if as_json:
        print_json({"run": record, "metrics": metrics})
        return
    console = results()
    console.print(_panel("Run", _pairs(_identity(record))))
    console.print(_panel("Method", _pairs(_method(record))))
    console.print(_panel("Data", _data(record, opened.check())))
    if metrics:
        console.print(_panel("Metrics, with 95% intervals", metrics_table(metrics)))
        for split in ("test", "validation"):
            if split in metrics:
                console.print(_panel(f"Labels on {split}", _per_class(metrics[split])))
                break
    if record.get("cost"):
        console.print(_panel("Cost", _pairs(_cost(record["cost"]))))
    if record.get("facts"):
        console.print(_panel("Facts", _pairs(_flat(record["facts"]))))


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(body, title=title, title_align="left", border_style="dim", box=box.ROUNDED)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(escape(name), value if value.startswith("[") else escape(value))
    return grid


def _identity(record: dict[str, Any]) -> list[tuple[str, str]]:
    status = record["status"]
    versions, hardware = record.get("versions") or {}, record.get("hardware") or {}
    pairs = [
        ("name", str(record.get("name", ""))),
        ("status", f"[{STATUS_STYLES.get(status, 'bold')}]{escape(status)}[/]"),
        ("error", str(record.get("error") or "")),
        ("recipe", str(record.get("recipe") or "")),
        ("started", str(record.get("started") or "")),
        ("finished", str(record.get("finished") or "")),
        ("config hash", str(record.get("config_hash") or "")),
        ("hardware", _hardware(hardware)),
        ("versions", ", ".join(f"{key} {value}" for key, value in versions.items())),
    ]
    return [(name, value) for name, value in pairs if value]


def _hardware(hardware: dict[str, Any]) -> str:
    parts = [
        f"memory {size(value)}" if name == "memory_bytes" else f"{value} cores" if name == "cores" else str(value)
        for name, value in hardware.items()
        if value is not None
    ]
    return ", ".join(parts)


def _method(record: dict[str, Any]) -> list[tuple[str, str]]:
    config = record.get("config") or {}
    pairs = [("seed", str(config.get("seed", "")))]
    pairs += _flat(config.get("method") or {})
    model, template = record.get("model"), record.get("template")
    if model:
        pairs.append(("model", " · ".join(str(value) for value in model.values() if value)))
    if template:
        pairs.append(("template", f"{template.get('kind')} {str(template.get('hash'))[:12]}"))
        pairs.append(("prompt", str(template.get("text") or "")))
    used = record.get("labels_used")
    if used:
        pairs.append(("labels used", ", ".join(f"{split} {count}" for split, count in used.items())))
    temperature = (record.get("calibration") or {}).get("temperature")
    if temperature is not None:
        pairs.append(("temperature", f"{temperature:.4g}"))
    thresholds = (record.get("calibration") or {}).get("thresholds") or {}
    if thresholds:
        pairs.append(("thresholds", ", ".join(f"{shorten(label)} {cut:.3f}" for label, cut in thresholds.items())))
    return pairs


def _data(record: dict[str, Any], check: dict[str, Any] | None) -> RenderableType:
    data, task = record.get("data") or {}, record.get("task") or {}
    rows = [
        (escape(name), f"{split['rows']:,}", escape(str(split.get("source", ""))), escape(str(split["hash"])[:12]))
        for name, split in (data.get("splits") or {}).items()
    ]
    pairs = [
        ("task", f"{task.get('name')} (version {task.get('version')})"),
        *([("problem", str(task["problem"]["kind"]))] if "problem" in task else []),
        ("labels", ", ".join(map(shorten, task.get("labels") or []))),
        ("split seed", str(data.get("split_seed"))),
    ]
    if data.get("accepted"):
        pairs.append(("errors accepted", ", ".join(data["accepted"])))
    if check is not None:
        findings = [f"{finding['level']} {finding['code']} ({finding['count']})" for finding in check["findings"]]
        pairs.append(("data gate", ", ".join(findings) or "nothing found"))
    return Group(_pairs(pairs), table(("split", "rows", "source", "hash"), rows, numbers=("rows",)))


def _per_class(metrics: dict[str, Any]) -> Table:
    columns = ("precision", "recall", "f1", "support")
    rows = [
        (escape(label), *(f"{values[c]:,}" if c == "support" else f"{values[c]:.3f}" for c in columns))
        for label, values in metrics["per_class"].items()
    ]
    return table(("label", *columns), rows, numbers=columns)


def _cost(cost: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _quantity(name, value)) for name, value in cost.items() if value is not None]


def _quantity(name: str, value: Any) -> str:
    """A cost by the unit in its name."""
    if not isinstance(value, int | float):
        return str(value)
    if "_seconds" in name:
        return duration(value)
    if name.endswith("_bytes"):
        return size(value)
    return f"{value:,}"


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as dotted names; lists of plain values on one line."""
    pairs: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, dict):
            pairs += _flat(item, f"{prefix}{key}.")
        elif item is not None:
            pairs.append((prefix + key, _plain(item)))
    return pairs


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
