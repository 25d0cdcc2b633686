"""Tables that are split, and where their rows went."""

from pathlib import Path

import polars as pl

from adjudge.core.task import Data, Task
from adjudge.data.splits import load_splits

TASK = Task(name="t")


def rows_of(n, labels="abbccc"):
    return [(f"text {i}", labels[i % len(labels)]) for i in range(n)]


def load(folder, rows, task=TASK, split_file=None, columns=("text", "label"), **data):
    pl.DataFrame(rows, schema=list(columns), orient="row").write_csv(Path(folder) / "a.csv")
    return load_splits(task, Data.model_validate({"train": "a.csv", **data}), base=Path(folder), split_file=split_file)


def placed(splits):
    return {row_id: name for name, split in splits.items() for row_id in split.row_ids}
