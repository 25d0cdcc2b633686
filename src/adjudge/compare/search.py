"""The report of a search: its history, what mattered, every trial, as one HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from adjudge.compare.report import environment
from adjudge.core.studies import StudyRecord
from adjudge.render.charts.lines import Series, curves
from adjudge.render.charts.svg import element, figure, text
from adjudge.render.page import write_page

_WIDTH, _ROW, _NAMES, _SHARES = 520, 26, 190, 50


def render_search(name: str, studies: Sequence[StudyRecord]) -> str:
    """The studies of a recipe as one HTML page: inline styles and SVG, no script, nothing fetched.

    Args:
        name: the recipe's.
        studies: from `adjudge.experiment.tune`.
    """
    return environment().get_template("search.html.j2").render(
        title=f"Search over {name}",
        studies=[
            {
                "record": study,
                "history": history(study),
                "importance": importance(study),
                "counts": Counter(trial.state for trial in study.trials),
                "options": list(dict.fromkeys(option for trial in study.trials for option in trial.options)),
            }
            for study in studies
        ],
    )  # fmt: skip


def write_search(path: Path, name: str, studies: Sequence[StudyRecord]) -> None:
    """Write `render_search` to a file, whole or not at all.

    Raises:
        WorkError: the file cannot be written.
    """
    write_page(path, render_search(name, studies))


def history(study: StudyRecord) -> Markup | None:
    """Validation macro-F1 of each complete trial, and the best so far; None without two complete trials."""
    complete = [(float(trial.number + 1), trial.value) for trial in study.trials if trial.state == "complete"]
    values = [(number, value) for number, value in complete if value is not None]
    if len(values) < 2:
        return None
    best = tuple((number, max(v for n, v in values if n <= number)) for number, _ in values)
    lines = [Series("trials", tuple(values), "dashed"), Series("best so far", best, "solid")]
    return curves(lines, f"Validation macro-F1 over the trials of {study.method}", "trial")


def importance(study: StudyRecord) -> Markup | None:
    """A bar for each option's importance; None where it is not known."""
    if not study.importance:
        return None
    marks: list[Markup] = []
    most = max(study.importance.values()) or 1.0
    room = _WIDTH - _NAMES - _SHARES
    for i, (option, share) in enumerate(study.importance.items()):
        y = i * _ROW
        marks += [
            text(_NAMES - 8, y + 17, option.removeprefix("training."), "end"),
            element("rect", x=_NAMES, y=y + 5, width=room * share / most, height=_ROW - 10, class_="bar"),
            text(_NAMES + room * share / most + 6, y + 17, f"{share:.0%}", "start", "t s"),
        ]
    return figure(_WIDTH, _ROW * len(study.importance), f"Importance of the options of {study.method}", *marks)
