"""What a measurement leaves behind: a line of JSON in `results/`, and a table on the screen."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rounds import Outcome

from adjudge.experiment.measure import hardware, versions

RESULTS = Path(__file__).parent / "results"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16")


def machine(threads: int | None = None) -> dict[str, Any]:
    """Hardware, the CPU's matrix extensions, threads, and the load before the measurement."""
    info = Path("/proc/cpuinfo")
    known = set(info.read_text(encoding="utf-8", errors="replace").split()) if info.is_file() else set()
    return hardware() | {
        "cpu_flags": [flag for flag in FLAGS if flag in known],
        "threads": threads,
        "load_average": round(os.getloadavg()[0], 2),
    }


def append(name: str, record: Mapping[str, Any]) -> Path:
    """Append a record to ``results/<name>.jsonl``, with the date and adjudge's versions."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.jsonl"
    whole = {"benchmark": name, "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(whole | dict(record), ensure_ascii=False) + "\n")
    return file


def described(outcome: Outcome) -> dict[str, Any]:
    """A contender's part of a record."""
    if outcome.failed and not outcome.turns:
        return {"failed": outcome.failed}
    return {
        "rows_per_second": outcome.rate,
        "rows_per_second_by_round": outcome.rates(),
        "start_seconds": outcome.start_seconds,
        "turns": outcome.turns,
        **outcome.facts,
        **({"failed": outcome.failed} if outcome.failed else {}),
    }


def ratio(ours: Outcome, peer: Outcome) -> dict[str, float] | None:
    """How many times as fast: the median of the rounds' ratios, the smallest and the largest; None without rounds."""
    found = [mine / theirs for mine, theirs in zip(ours.rates(), peer.rates(), strict=False)]
    if not found:
        return None
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


def best(names: Sequence[str], outcomes: Mapping[str, Outcome]) -> str | None:
    """The fastest of some contenders, or None where none was measured."""
    measured = {name: outcomes[name].rate or 0.0 for name in names if name in outcomes and outcomes[name].turns}
    return max(measured, key=lambda name: measured[name]) if measured else None


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; fractions with three significant digits, None as a dash."""
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def target_lines(targets: Sequence[tuple[str, float | None, float]]) -> str:
    """One line for each target: what was reached of it, and by how much it was missed."""
    lines = []
    for name, reached, wanted in targets:
        if reached is None:
            lines.append(f"- {name}: not measured (target {wanted:g})")
            continue
        verdict = "reached" if reached >= wanted else f"missed by {wanted - reached:.4g}"
        lines.append(f"- {name}: {reached:.4g} (target {wanted:g}): {verdict}")
    return "\n".join(lines)
