"""LoRA training of SmolLM2-135M on the emotion rows: adjudge against LLaMA-Factory, TRL, Trainer + PEFT and ms-swift.

    python benchmarks/train_cpu.py --data FOLDER        (train.txt and val.txt with lines text;label)

Rank 8 on all linear layers, 32 rows a step, bfloat16, the same prompt text, rows, maximum length, rate, schedule and
threads for all; packed contenders take as many packs a step as hold about 32 rows. In each of the interleaved rounds
every contender starts anew, alone on the machine, takes an untimed step and then the timed ones. Compared are rows per
second of these and, after the same rows, the closed-set log loss on held-out rows: adapters of generating contenders
are all judged by one engine, sequence heads by their own logits. Takes about 35 minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from arguments import benchmark_parser, pick, step_arguments, training_plan
from emotion import LABELS, as_jobs, prompt_of, read_rows, task
from held_out import Judge
from records import append, best, described, machine, ratio, table, target_lines
from rounds import Contender, Outcome, run_rounds, say

from adjudge.models.trunk.loading import locate

MODEL, RANK, ALPHA, RATE = "smollm2-135m", 8, 16, 1e-3
MAX_TOKENS, PACK_TOKENS, ROWS_A_PACK = 160, 512, 8
NO_CHECKPOINTS = {"gradient_checkpointing": False}
SEQUENCE = "trainer_sequence.py"
# name: environment, script, options beside the common job
PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llamafactory": ("llamafactory", "llamafactory_sft.py", {}),
    "llamafactory-no-checkpoints": ("llamafactory", "llamafactory_sft.py", {"disable_gradient_checkpointing": True}),
    "llamafactory-packed": (
        "llamafactory",
        "llamafactory_sft.py",
        {"disable_gradient_checkpointing": True, "cutoff_len": PACK_TOKENS, "packing": True},
    ),
    "trl": ("trainer", "trl_sft.py", NO_CHECKPOINTS),
    "trl-packed": ("trainer", "trl_sft.py", NO_CHECKPOINTS | {"max_length": PACK_TOKENS, "packing": True}),
    "trainer-autocast": ("trainer", SEQUENCE, {"weights": "float32", "autocast": True}),
    "trainer-bf16-weights": ("trainer", SEQUENCE, {"weights": "bfloat16", "autocast": False}),
    "swift": ("ms-swift", "swift_sequence.py", {}),
}
GENERATING = ("llamafactory", "llamafactory-no-checkpoints", "llamafactory-packed", "trl", "trl-packed")
OURS: dict[str, dict[str, Any]] = {
    "adjudge-label": {"kind": "label"},
    "adjudge-score": {"kind": "score", "dropout": 0.0},
}


def contenders(options: argparse.Namespace, scratch: Path) -> list[Contender]:
    """Everybody's jobs."""
    prompt = prompt_of(MODEL, "plain", MAX_TOKENS)
    common = {
        "model": locate(MODEL).source,
        "task": task(),
        "labels": list(LABELS),
        "train": as_jobs(read_rows(options.data, "train", options.train_steps * options.batch), prompt),
        "held_out": as_jobs(read_rows(options.data, "val", options.held_out), prompt),
        "cue_ids": list(prompt.suffix_ids),
        "rank": RANK,
        "alpha": ALPHA,
        "batch_size": options.batch,
        "max_tokens": MAX_TOKENS,
        "learning_rate": RATE,
        "weight_decay": 0.0,
        "bf16": True,
        "seed": 0,
    }
    ours = [
        Contender(
            name,
            "own",
            "adjudge_training.py",
            common | {"method": _method(head, options.batch), **_adapter(scratch, name)},
        )
        for name, head in OURS.items()
    ]
    peers = [
        Contender(
            name,
            environment,
            script,
            common | {"options": extra | _packs(extra, options.batch), **_adapter(scratch, name)},
        )
        for name, (environment, script, extra) in PEERS.items()
    ]
    return pick(ours + peers, options.only)


def _packs(extra: dict[str, Any], batch: int) -> dict[str, int]:
    """As many packs a step as hold about a batch of rows."""
    return {"per_device_train_batch_size": max(1, batch // ROWS_A_PACK)} if extra.get("packing") else {}


def _adapter(scratch: Path, name: str) -> dict[str, str]:
    return {"adapter": str(scratch / f"{name}-adapter")}


def _method(head: dict[str, Any], batch: int) -> dict[str, Any]:
    training = {
        "learning_rate": RATE,
        "epochs": 1.0,
        "batch_size": batch,
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "evaluations_per_epoch": 1,
    }
    return {
        "kind": "lora",
        "model": MODEL,
        "rank": RANK,
        "alpha": ALPHA,
        "prompt_style": "plain",
        "max_tokens": MAX_TOKENS,
        "precision": "bfloat16",
        "head": head,
        "training": training,
    }


def judge(options: argparse.Namespace, outcomes: dict[str, Outcome], scratch: Path) -> float:
    """Put the held-out loss of every generating contender, by the common judge, beside what it said; the base's."""
    say("judging the adapters")
    method = {"prompt_style": "plain", "max_tokens": MAX_TOKENS, "precision": "bfloat16"}
    common = Judge(MODEL, method, read_rows(options.data, "val", options.held_out))
    for name in ("adjudge-label", *GENERATING):
        folder = scratch / f"{name}-adapter"
        for place in (folder, folder / "adapter"):
            if name in outcomes and (place / "adapter_config.json").is_file():
                facts = outcomes[name].facts
                facts["own_log_loss"] = facts.get("held_out_log_loss")
                facts["held_out_log_loss"] = common.log_loss(place)
    return common.log_loss(None)


def main() -> None:
    parser = benchmark_parser(__doc__, rounds=3)
    parser.add_argument("--batch", type=int, default=32, help="rows of a step (default %(default)s)")
    step_arguments(parser, train=10, timed=3, warm=1)
    parser.add_argument("--held-out", type=int, default=400, help="held-out rows of the loss (default %(default)s)")
    options = parser.parse_args()
    before = machine(options.threads)
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as folder:
        scratch = Path(folder)
        outcomes = run_rounds(contenders(options, scratch), training_plan(options, scratch))
        untrained = judge(options, outcomes, scratch)
    ours = best(list(OURS), outcomes)
    ratios = {name: ratio(outcomes[ours], outcome) for name, outcome in outcomes.items()} if ours else {}
    print(_table(outcomes, ratios))
    print(f"\nheld-out log loss of the untrained model: {untrained:.3f}")
    print(_targets(outcomes, ratios))
    record = {
        "machine": before,
        "rounds": options.rounds,
        "batch_size": options.batch,
        "timed_steps": options.steps,
        "warm_steps": options.warm,
        "train_rows": options.batch * options.train_steps,
        "held_out_rows": options.held_out,
        "untrained_log_loss": untrained,
        "contenders": {name: described(outcome) for name, outcome in outcomes.items()},
        "reference": ours,
        "ratios": ratios,
    }
    if not options.no_record:
        say(f"appended to {append('train_cpu', record)}")


def _table(outcomes: dict[str, Outcome], ratios: dict[str, Any]) -> str:
    columns = ("contender", "rows/s", "adjudge is × as fast", "log loss", "computed tokens a row", "peak memory GB")
    rows: list[tuple[Any, ...]] = []
    for name, outcome in outcomes.items():
        if outcome.failed and not outcome.turns:
            rows.append((name, f"missing: {outcome.failed}", None, None, None, None))
            continue
        counted = sum(turn["rows"] for turn in outcome.turns)
        computed = sum(turn.get("computed_tokens", 0) for turn in outcome.turns)
        times = ratios.get(name)
        rows.append(
            (
                name,
                outcome.rate,
                times["median"] if times else None,
                outcome.facts.get("held_out_log_loss"),
                computed / counted if computed else None,
                outcome.facts.get("peak_memory_bytes", 0) / 1e9 or None,
            )
        )
    return table(columns, rows)


def _targets(outcomes: dict[str, Outcome], ratios: dict[str, Any]) -> str:
    def times(names: tuple[str, ...]) -> float | None:
        name = best(names, outcomes)
        return ratios[name]["median"] if name and ratios.get(name) else None

    return target_lines(
        (
            ("× LLaMA-Factory with its defaults", times(("llamafactory",)), 10),
            ("× the best of LLaMA-Factory and TRL", times(GENERATING), 5),
            ("× the sequence-classification Trainer", times(("trainer-autocast", "trainer-bf16-weights")), 3),
        )
    )


if __name__ == "__main__":
    main()
