"""Full fine-tuning of minilm-l6 on two cores: adjudge against a plain Transformers Trainer script, same work.

    python benchmarks/train_cpu_encoder.py --data FOLDER      (train.txt and val.txt with lines text;label)

Both train on the same rows with the same batch size, maximum length, peak rate, threads and precision, in
interleaved rounds, each in a process of its own; the peer in a virtual environment of its own (made at first use in
the cache folder). Compared are rows per second after three warm-up steps and the log loss on held-out rows after the
same number of rows. Prints JSON, and appends it to benchmarks/results/train_cpu_encoder.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "train_cpu_encoder.jsonl"
PEER_PACKAGES = ("torch", "transformers", "accelerate")
BATCH, MAX_TOKENS, RATE = 32, 128, 2e-4


def read(file: Path, rows: int) -> tuple[list[str], list[str]]:
    """Texts and labels of lines ``text;label``."""
    lines = [line.rsplit(";", 1) for line in file.read_text(encoding="utf-8").splitlines()[:rows]]
    return [text for text, _ in lines], [label for _, label in lines]


def run_adjudge(job_file: Path) -> None:
    """One round of ours, in this process: prints one line of JSON."""
    import torch

    job = json.loads(job_file.read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    from adjudge.core.config import validate
    from adjudge.core.task import Task
    from adjudge.core.types import Split
    from adjudge.methods.contract import Setting
    from adjudge.methods.full import METHOD, FullConfig

    def split(name: str, texts: list[str], labels: list[str]) -> Split:
        return Split(name, texts, labels, [str(i) for i in range(len(texts))])

    warmup = job["warmup_steps"] * job["batch_size"] / len(job["train"][0])
    training = {"learning_rate": job["learning_rate"], "epochs": 1.0, "batch_size": job["batch_size"]}
    training |= {"warmup": warmup, "evaluations_per_epoch": 1}
    options = {"kind": "full", "model": "minilm-l6", "max_tokens": job["max_tokens"], "training": training}
    config = validate(FullConfig, options, "benchmark")
    events: list[dict[str, Any]] = []
    setting = Setting(Task(name="emotion"), tuple(job["labels"]), seed=job["seed"], log=events.append)
    fitted = METHOD.fit(split("train", *job["train"]), split("validation", *job["held_out"]), config, setting)
    loss = next(event["loss"] for event in reversed(events) if event["event"] == "evaluation")
    facts = fitted.facts
    print(
        json.dumps(
            {
                "rows_per_second": facts["steady_rows_per_second"],
                "held_out_log_loss": loss,
                "steps": facts["steps"],
                "engine": facts["engine"],
                "precision": facts["precision"],
            }
        )
    )


def peer_python(cache: Path) -> Path:
    """The peer's interpreter, with the same versions of the libraries as here."""
    folder = cache / "benchmark-peers" / "trainer"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        for package in PEER_PACKAGES:
            wanted = f"{package}=={version(package).partition('+')[0]}"
            subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
        (folder / "ready").touch()
    return python


def once(command: list[str], job: Path) -> dict[str, Any]:
    """Run one contender; its last line is its result."""
    environment = os.environ | {"OMP_NUM_THREADS": str(json.loads(job.read_text())["threads"]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, str(job)], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[-1]} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of train.txt and val.txt")
    parser.add_argument("--rows", type=int, default=1600, help="train rows of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--adjudge-round", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.adjudge_round:
        run_adjudge(options.adjudge_round)
        return
    if options.data is None:
        parser.error("--data is needed")
    from adjudge.models.loading import cache_folder, locate
    from adjudge.models.precision import cpu_has_bfloat16

    train, held_out = read(options.data / "train.txt", options.rows), read(options.data / "val.txt", 500)
    contenders = {
        "adjudge": [sys.executable, str(Path(__file__)), "--adjudge-round"],
        "trainer": [str(peer_python(cache_folder())), str(HERE / "peers" / "trainer_encoder.py")],
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch) / "job.json"
        for seed in range(options.rounds):
            described = {
                "model": locate("minilm-l6").source,
                "labels": sorted(set(train[1])),
                "train": train,
                "held_out": held_out,
                "batch_size": BATCH,
                "max_tokens": MAX_TOKENS,
                "learning_rate": RATE,
                "warmup_steps": 3,
                "threads": options.threads,
                "seed": seed,
                "bf16": cpu_has_bfloat16(),
                "scratch": scratch,
            }
            job.write_text(json.dumps(described), encoding="utf-8")
            for name, command in contenders.items():
                found[name].append(once(command, job))
    medians = {
        name: {key: statistics.median(r[key] for r in rounds) for key in ("rows_per_second", "held_out_log_loss")}
        for name, rounds in found.items()
    }
    result = {
        "benchmark": "train_cpu_encoder",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": processor(), "threads": options.threads, "load": os.getloadavg()},
        "versions": {name: version(name) for name in PEER_PACKAGES},
        "rows": options.rows,
        "rounds": found,
        "median": medians,
        "ratio": medians["adjudge"]["rows_per_second"] / medians["trainer"]["rows_per_second"],
    }
    print(json.dumps(result, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(result) + "\n")


def processor() -> dict[str, Any]:
    """Name of the processor and which of the matrix extensions it has."""
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="ascii", errors="replace") if file.exists() else ""
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag}" in text]
    return {"name": name or platform.processor(), "flags": flags}


if __name__ == "__main__":
    main()
