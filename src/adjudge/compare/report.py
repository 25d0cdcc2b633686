"""The report: one HTML file that needs no network, for light and dark, for a screen, a phone and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from adjudge.compare import figures
from adjudge.compare.comparison import TESTED
from adjudge.compare.costs import COSTS, write_cost
from adjudge.compare.deciding import DECIDING
from adjudge.compare.details import details_of
from adjudge.compare.fairness import LoadedRun, load_fair
from adjudge.compare.groups import members_by_label
from adjudge.compare.mistakes import confident_mistakes
from adjudge.compare.results import Comparison
from adjudge.compare.tables import any_unparsed, p_text, standing
from adjudge.core.runs import Run
from adjudge.render.page import page_environment, write_page

LEVELS = ("error", "warning", "note")


def render_report(comparison: Comparison, runs: Sequence[Run], *, texts: bool = True, title: str | None = None) -> str:
    """The report as one HTML page: inline styles and inline SVG, no script, nothing fetched.

    Everything that comes from data is escaped. The same runs give the same bytes.

    Args:
        comparison: from `compare_runs`.
        runs: the same runs, for what is told of each method alone.
        texts: whether the most confident mistakes show their texts; otherwise no text of any row is in the page.
        title: heading; default: made from the task's name.

    Raises:
        DataError: runs that cannot be compared, as in `compare_runs`.
    """
    loaded, _ = load_fair(runs)
    members = members_by_label(loaded)
    chosen = comparison.chosen.label
    details = [details_of(group, members[group.label]) for group in comparison.groups]
    template = environment().get_template("report.html.j2")
    return template.render(
        comparison=comparison,
        title=title or f"Which model for {comparison.task}?",
        details=details,
        boards={metric: figures.leaderboard(comparison, metric) for metric in TESTED},
        differences=figures.differences(comparison, comparison.options.metric),
        plots=figures.quality_against_cost(comparison),
        unplaced=figures.unplaced(comparison),
        mistakes=confident_mistakes(members[chosen][0], texts=texts),
        mistaken=members[chosen][0].run.name,
        texts=texts,
        checks=_checks(loaded),
        measured=_measured(loaded),
        costs=[
            name
            for name in COSTS
            if name != "prediction_seconds" and any(g.costs.get(name) is not None for g in comparison.groups)
        ],
        labels=comparison.labels,
    )


def write_report(
    path: Path, comparison: Comparison, runs: Sequence[Run], *, texts: bool = True, title: str | None = None
) -> None:
    """Write `render_report` to a file, whole or not at all.

    Raises:
        DataError: as in `render_report`.
        WorkError: the file cannot be written.
    """
    write_page(path, render_report(comparison, runs, texts=texts, title=title))


@cache
def environment() -> Environment:
    """The templates of a comparison with what they call."""
    made = page_environment("adjudge.compare")
    made.filters["p"] = p_text
    made.globals |= {
        "cost": write_cost,
        "cost_titles": {name: item.title for name, item in COSTS.items()},
        "deciding": DECIDING,
        "standing": standing,
        "any_unparsed": any_unparsed,
        "mark_of": figures.mark_of,
    }
    return made


def _checks(loaded: Sequence[LoadedRun]) -> dict[str, Any] | None:
    """What the gate found, from the first run that has it; runs of one split share it."""
    for item in loaded:
        found = item.run.check()
        if found is not None:
            ordered = sorted(
                found.get("findings", ()), key=lambda f: LEVELS.index(f["level"]) if f["level"] in LEVELS else 9
            )
            accepted = (item.record.get("data") or {}).get("accepted") or []
            return {"findings": ordered, "splits": found.get("splits", {}), "accepted": accepted}
    return None


def _measured(loaded: Sequence[LoadedRun]) -> Mapping[str, str]:
    """How it was measured: what all runs agree on, and every value where they do not."""
    splits = (loaded[0].record.get("data") or {}).get("splits") or {}
    facts: dict[str, str] = {
        f"{name} rows": f"{part.get('rows', 0):,} from {part.get('source')}, hash {str(part.get('hash'))[:12]}"
        for name, part in splits.items()
    }
    facts["split seed"] = _distinct((m.record.get("data") or {}).get("split_seed") for m in loaded)
    facts["task hash"] = _distinct(str(m.record["task"].get("hash"))[:12] for m in loaded)
    facts["runs made"] = _distinct(str(m.record.get("finished"))[:10] for m in loaded)
    keys = sorted({key for m in loaded for key in m.record.get("hardware") or {}})
    for key in keys:
        values = [(m.record.get("hardware") or {}).get(key) for m in loaded]
        if key.endswith("_bytes"):
            values = [None if value is None else f"{value / 2**30:.1f} GiB" for value in values]
        facts[key.removesuffix("_bytes")] = _distinct(values)
    packages = sorted({name for m in loaded for name in m.record.get("versions") or {}})
    facts["versions"] = ", ".join(
        f"{name} {_distinct((m.record.get('versions') or {}).get(name) for m in loaded)}" for name in packages
    )
    return {name: value for name, value in facts.items() if value}


def _distinct(values: Any) -> str:
    return " / ".join(sorted({str(value) for value in values if value is not None}))
