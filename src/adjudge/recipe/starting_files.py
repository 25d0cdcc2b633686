"""The task and the recipe that a user starts from, as commented YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adjudge.core.config import to_flow
from adjudge.data.label_columns import LabelColumns
from adjudge.recipe.minutes import WORK, shown_minutes

MAX_KEY_CHARS = 100
"""Longer keys are written behind a question mark: YAML finds the colon of a short one only."""


@dataclass(frozen=True)
class Start:
    """What the files say.

    Attributes:
        name: of the task and the recipe.
        text: the text columns.
        columns: the label column, or columns, and how many labels a row has.
        id: the row id column, or None.
        sources: role -> the options of its source, the path first, relative to the task.
        labels: what the data write -> the name of the label, the same where they do not differ.
        flaws: code of a data error -> rows that have it.
    """

    name: str
    text: tuple[str, ...]
    columns: LabelColumns
    id: str | None
    sources: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, str]
    flaws: Mapping[str, int]

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return not self.columns.problem.single


def _source_line(role: str, options: Mapping[str, Any]) -> str:
    value = options["path"] if len(options) == 1 else options
    return f"{role}: {to_flow(dict(value) if isinstance(value, Mapping) else value)}"


def _labels_lines(labels: Mapping[str, str]) -> str:
    lines = []
    for cell, label in labels.items():
        key, about = to_flow(cell), "{}" if cell == label else to_flow({"name": label})
        lines.append(f"  {key}: {about}" if len(key) <= MAX_KEY_CHARS else f"  ? {key}\n  : {about}")
    return "\n".join(lines)


def task_text(start: Start) -> str:
    """The task file."""
    text_line = f"text: {to_flow(start.text[0] if len(start.text) == 1 else list(start.text))}"
    id_line = "# id: column" if start.id is None else f"id: {to_flow(start.id)}"
    accept_line = f"accept: [{', '.join(start.flaws)}]"
    shown = ", ".join(f"{code} {rows:,}" for code, rows in start.flaws.items())
    rows_shown = f" (rows found: {shown})" if start.flaws else ""
    train, *others = (_source_line(role, options) for role, options in start.sources.items())
    given = "".join(f"  {line}\n" for line in others) or (
        "  # validation: …         # own files, if there are any; otherwise rows are split off, once, and kept\n"
        "  # test: …\n"
    )
    return f"""\
# The task: what is decided, and where the rows are. Every key is checked; a typo gets an error with the nearest name.
name: {to_flow(start.name)}
version: 1                # raise it when the meaning of a label changes

{text_line:<25} # or a list of columns: [title, body]
{start.columns.to_yaml()}
{id_line:<25} # a column of unique row ids; default: a hash of the content
metadata: []              # columns kept for slices in the report: [shop, year]

# The closed set: a classifier answers with one of these or abstains. Methods that prompt a model read better with a
# line that says what a label means:   {to_flow(next(iter(start.labels)))[:60]}: what belongs here, in one line
labels:
{_labels_lines(start.labels)}

# instruction: Decide …   # what a prompted model is told; default: made from the labels

data:
  {train:<23} # relative to this file
{given}  split: {{validation: 0.1, test: 0.2, stratify: true}}   # also group: column (rows of one group stay together)
  split_seed: 0           # of the split alone; the seeds of runs never move it
  {accept_line:<23} # codes of data errors that you accept knowingly, as `adjudge check` names them{rows_shown}
"""


def recipe_text(
    name: str, rows: int, mean_tokens: float, minutes: Mapping[str, float], *, several: bool = False
) -> str:
    """The recipe file: the six methods; of several labels for a text those that can give them."""
    methods = []
    for work in WORK:
        if several and work.method == "zero_shot":
            continue
        methods.append(f"  - kind: {work.method:<18}# {shown_minutes(minutes[work.method])}")
        methods += [f"    model: {work.model}"] if work.model else []
        methods += ["    head: score"] if several and work.method == "lora" else []
    listed = "\n".join(methods)
    return f"""\
# The recipe: task + methods × models × seeds. Run it:      adjudge run recipes/{name}.yaml
# Change a value for one run:                               --set method.learning_rate=1e-4
# Options of a method:                                      adjudge methods
#
# Times are estimates for this machine, from {rows:,} rows of about {mean_tokens:.0f} tokens and a short probe of its
# float32 matrix speed, to within a factor of three; with bfloat16 units it is faster.
# All together: {shown_minutes(sum(minutes.values()))}.
name: {to_flow(name)}
task: ../tasks/{name}.yaml

methods:
{listed}

seeds: [0]                # one speaks of a run; [0, 1, 2] speak of a method and show the spread
budget: {{}}                # max_train_seconds: 600, max_train_rows: 5000
store_texts: true         # false leaves the texts out of the run folders
"""
