"""Full fine-tuning of minilm-l6 on the emotion rows: adjudge against Transformers' Trainer, same work.

    python benchmarks/train_cpu_encoder.py --data FOLDER      (train.txt and val.txt with lines text;label)

Both train on the same rows with the same batch size, maximum length, rate, schedule and threads, in interleaved
rounds; in each everybody starts anew, alone on the machine. The whole training is timed but for its first steps, since
grouping by length puts long rows first. The Trainer pads to the longest row of a batch; it is run with and without
grouping by length, with and without bfloat16 autocast, and its best setting is the reference. Takes about 12 minutes
with the defaults on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from arguments import benchmark_parser, pick, step_arguments, training_plan
from emotion import LABELS, as_jobs, read_rows, task
from records import append, best, described, machine, ratio, table, target_lines
from rounds import Contender, run_rounds, say

from adjudge.models.trunk.loading import locate

MODEL, BATCH, MAX_TOKENS, RATE, DECAY = "minilm-l6", 32, 128, 2e-4, 0.01
SETTINGS = {
    "trainer": {"sampling": "random", "autocast": False},
    "trainer-bf16": {"sampling": "random", "autocast": True},
    "trainer-by-length": {"sampling": "group_by_length", "autocast": False},
    "trainer-by-length-bf16": {"sampling": "group_by_length", "autocast": True},
}


def contenders(options: argparse.Namespace) -> list[Contender]:
    """Everybody's jobs."""
    common = {
        "model": locate(MODEL).source,
        "task": task(),
        "labels": list(LABELS),
        "train": as_jobs(read_rows(options.data, "train", options.train_steps * BATCH), None),
        "held_out": as_jobs(read_rows(options.data, "val", options.held_out), None),
        "rank": 0,
        "batch_size": BATCH,
        "max_tokens": MAX_TOKENS,
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "adapter": None,
        "seed": 0,
    }
    training = {
        "learning_rate": RATE,
        "epochs": 1.0,
        "batch_size": BATCH,
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": DECAY,
        "evaluations_per_epoch": 1,
    }
    method = {"kind": "full", "model": MODEL, "max_tokens": MAX_TOKENS, "training": training}
    ours = [Contender("adjudge", "own", "adjudge_training.py", common | {"method": method})]
    peers = [
        Contender(name, "trainer", "trainer_sequence.py", common | {"options": {"weights": "float32", **setting}})
        for name, setting in SETTINGS.items()
    ]
    return pick(ours + peers, options.only)


def main() -> None:
    parser = benchmark_parser(__doc__, rounds=3)
    step_arguments(parser, train=80, timed=75, warm=5)
    parser.add_argument("--held-out", type=int, default=500, help="held-out rows of the loss (default %(default)s)")
    options = parser.parse_args()
    before = machine(options.threads)
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as folder:
        outcomes = run_rounds(contenders(options), training_plan(options, Path(folder)))
    peer = best(list(SETTINGS), outcomes)
    times = ratio(outcomes["adjudge"], outcomes[peer]) if peer and "adjudge" in outcomes else None
    rows: list[tuple[Any, ...]] = [
        (name, outcome.rate, outcome.facts.get("held_out_log_loss"), outcome.facts.get("precision"), outcome.failed)
        for name, outcome in outcomes.items()
    ]
    print(table(("contender", "rows/s", "log loss", "precision", "failed"), rows))
    print(target_lines([(f"× the best Trainer ({peer})", times["median"] if times else None, 2)]))
    record = {
        "machine": before,
        "rounds": options.rounds,
        "timed_steps": options.steps,
        "train_rows": BATCH * options.train_steps,
        "contenders": {name: described(outcome) for name, outcome in outcomes.items()},
        "reference": peer,
        "ratio": times,
    }
    if not options.no_record:
        say(f"appended to {append('train_cpu_encoder', record)}")


if __name__ == "__main__":
    main()
