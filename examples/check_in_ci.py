"""Stop a pipeline when new data would spoil a test set: the data gate from Python.

    python examples/check_in_ci.py train.csv test.csv

Exit status: 0 without errors, 1 with errors. Columns: text and label.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adjudge.core.task import Data, Source, Task
from adjudge.data.gate import check
from adjudge.data.splits import load_splits


def main(train: str, test: str) -> int:
    """Check two files against each other and print what was found."""
    data = Data(train=Source(path=train), test=Source(path=test))
    splits = load_splits(Task(name="check", data=data), data, base=Path.cwd())
    report = check(splits)
    for finding in report.findings:
        print(f"{finding.level:7} {finding.code:16} {' & '.join(finding.splits)}: {finding.message}")
    errors = report.errors()
    print(f"{len(errors)} errors" if errors else "no errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
