"""Wall time from a fresh process until training stops at the validation accuracy that a recipe fixed beforehand.

    python benchmarks/time_to_accuracy.py --data FOLDER      (train.txt, val.txt and test.txt with lines text;label)

Every seed is `adjudge run` in a process of its own: it imports, checks the data, trains until the recipe's
`target_accuracy` is reached on validation, and evaluates once on test. Reported for every seed: seconds until training
stopped, seconds until everything was written, validation and test accuracy; then median and worst, and whether each
seed lies above 0.9262, LLaMA3-8B's published figure. With the recipe as it is, 7 minutes a seed on two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from records import append, machine, table, target_lines
from rounds import say

from adjudge.core.runs import Run, find_runs

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "emotion-time-to-accuracy.yaml"
PUBLISHED, MEDIAN_SECONDS, WORST_SECONDS = 0.9262, 300.0, 420.0


def one_seed(options: argparse.Namespace, seed: int, runs: Path) -> dict[str, Any]:
    """Run the recipe with one seed and read off its run folder what happened when."""
    threads = str(options.threads)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-P", "-m", "adjudge.cli", "run", str(options.recipe), "--data", str(options.data)]
    command += ["--set", f"seeds=[{seed}]", "--runs", str(runs)]
    for setting in options.set or ():
        command += ["--set", setting]
    began, began_clock = time.time(), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - began_clock
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        return {"seed": seed, "failed": " ".join(" ".join(said[-3:]).split())}
    (run,) = find_runs(list(runs.iterdir()))
    return {"seed": seed, "seconds": seconds_to_stop(run, began), "seconds_with_everything": wall, **_scores(run)}


def seconds_to_stop(run: Run, began: float) -> float:
    """From the start of the process to the last validation of training: there it stopped.

    A run's log counts from the moment that the log was opened; its file tells when that was, by its last line.
    """
    events = list(run.log())
    last = events[-1]["seconds"]
    closed = (run.path / "log.jsonl").stat().st_mtime
    stopped = max(event["seconds"] for event in events if event["event"] == "evaluation")
    return float(closed - last + stopped - began)


def _scores(run: Run) -> dict[str, Any]:
    record, metrics = run.record(), run.metrics()
    reached = [event["accuracy"] for event in run.log() if event["event"] == "evaluation"]
    facts = record["facts"]
    return {
        "stopped": facts.get("stopped"),
        "steps": facts.get("steps"),
        "engine": facts.get("engine"),
        "precision": facts.get("precision"),
        "validation_accuracy": max(reached),
        "test_accuracy": metrics["test"]["accuracy"],
        "test_macro_f1": metrics["test"]["macro_f1"],
        "method": record["config"]["method"],
        "peak_memory_bytes": record["cost"].get("peak_memory_bytes"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.txt, val.txt and test.txt")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="recipe of one method (default %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="of every process (default: cores, %(default)s)")
    parser.add_argument("--set", action="append", help="override a value of the recipe, as `adjudge run --set` does")
    parser.add_argument("--no-record", action="store_true", help="print only; nothing is appended to results/")
    options = parser.parse_args()
    if not options.recipe.is_file():
        parser.error(f"--recipe: {options.recipe} is not there")
    before = machine(options.threads)
    found = []
    for seed in options.seeds:
        say(f"seed {seed}: started {datetime.now(UTC):%H:%M:%S}")
        with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as folder:
            found.append(one_seed(options, seed, Path(folder)))
    print(_table(found))
    complete = [one for one in found if "failed" not in one]
    times = [one["seconds"] for one in complete]
    summary = {"median_seconds": statistics.median(times), "worst_seconds": max(times)} if times else {}
    if summary:
        print(f"\nmedian {summary['median_seconds']:.0f} s, worst {summary['worst_seconds']:.0f} s")
        print(f"targets: median at most {MEDIAN_SECONDS:.0f} s, worst at most {WORST_SECONDS:.0f} s")
    print(target_lines([(f"test accuracy, seed {one['seed']}", one["test_accuracy"], PUBLISHED) for one in complete]))
    if not options.no_record:
        record = {"machine": before, "recipe": options.recipe.name, "set": options.set, "seeds": found, **summary}
        say(f"appended to {append('time_to_accuracy', record)}")
    if len(complete) < len(found):
        sys.exit(1)


def _table(found: list[dict[str, Any]]) -> str:
    keys = ("seed", "seconds", "seconds_with_everything", "stopped", "validation_accuracy", "test_accuracy", "failed")
    rows = [
        [
            f"{value:.4f}" if isinstance(value := one.get(key), float) and key.endswith("accuracy") else value
            for key in keys
        ]
        for one in found
    ]
    return table([key.replace("_", " ") for key in keys], rows)


if __name__ == "__main__":
    main()
