"""How adjudge's cost grows: with text length, prompt length, number of labels, and number of rows.

    python benchmarks/scaling.py

The first three axes score label words with SmolLM2-135M, nothing trained, on made texts of a known number of tokens;
every point runs the same number of text tokens, three times. The last axis is `adjudge predict` with a TF-IDF
classifier over made files of up to a million rows, each in a process of its own, start-up included. Cost per token
should be flat in the lengths (attention within a row grows with its length), memory flat in the number of rows. Prints
a table, appends it to results/scaling.jsonl and draws results/scaling.png. Takes about 6 minutes with the defaults on
two cores.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import yaml
from emotion import LABELS, Rows
from held_out import fit_scorer
from records import RESULTS, append, machine, table
from rounds import say

from adjudge.core.runs import find_runs
from adjudge.core.task import Task
from adjudge.experiment.measure import PeakMemory

MODEL = "smollm2-135m"
TEXT_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
PROMPT_TOKENS = (0, 64, 256, 512, 1024, 2048)
LABEL_COUNTS = (2, 10, 50, 200, 1000)
DATA_ROWS = (1_000, 10_000, 100_000, 1_000_000)
SAMPLE_SECONDS = 0.05
ROW_TOKENS, WORD = 32, " day"  # a word that is one token wherever it stands


def classifier(prompt_tokens: int, labels: Sequence[str]) -> Any:
    """SmolLM2 scoring these labels behind a prompt of about so many tokens; the label list is not in the prompt."""
    task = Task(name="scaling", prompt=f"Note:{WORD * max(0, prompt_tokens - 4)}\n{{text}}")
    options = {
        "kind": "zero_shot",
        "model": MODEL,
        "scoring": "raw",
        "prompt_style": "plain",
        "max_tokens": 8192,
        "calibration_rows": 1,
    }
    return fit_scorer(options, Rows((WORD,), (labels[0],)), task, labels)


def measure(model: Any, text_tokens: int, rows: int, repeats: int) -> dict[str, float]:
    """Score made texts; the median of a few repeats behind an untimed row, and the peak memory."""
    texts = [(WORD * text_tokens).strip()] * rows
    counts, _ = model.count_tokens(texts[:1])
    model.predict_logits(texts[:1])
    gc.collect()
    seconds = []
    with PeakMemory() as memory:
        for _ in range(repeats):
            began = time.perf_counter()
            model.predict_logits(texts)
            seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    tokens = min(int(counts[0]), model.prompt.text_budget) * rows
    return {
        "rows": rows,
        "rows_per_second": rows / median,
        "milliseconds_per_token": 1000 * median / tokens,
        "peak_memory_bytes": memory.peak_bytes,
    }


def lengths(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The axes on which a causal model scores."""
    model = classifier(0, LABELS)
    for tokens in TEXT_TOKENS:
        if tokens <= options.longest:
            rows = max(1, options.tokens // tokens)
            yield {"axis": "text tokens", "value": tokens} | measure(model, tokens, rows, options.repeats)
    rows = max(1, options.tokens // ROW_TOKENS)
    for tokens in PROMPT_TOKENS:
        if tokens <= options.longest:
            model = classifier(tokens, LABELS)
            yield {"axis": "prompt tokens", "value": tokens} | measure(model, ROW_TOKENS, rows, options.repeats)
    for count in LABEL_COUNTS:
        if count <= options.labels:
            model = classifier(0, [f"class {number}" for number in range(count)])
            few = max(1, min(rows, 16))
            yield {"axis": "labels", "value": count} | measure(model, ROW_TOKENS, few, options.repeats)


def sizes(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """The axis on which files grow."""
    generator = np.random.default_rng(0)
    run = trained(folder, generator, options.threads)
    for rows in DATA_ROWS:
        if rows > options.rows:
            continue
        source = folder / f"{rows}.csv"
        write(source, rows, generator)
        command = [sys.executable, "-P", "-m", "adjudge.cli", "predict", str(run), str(source)]
        seconds, peak = timed([*command, "--output", str(folder / f"{rows}.parquet")], options.threads)
        source.unlink()
        yield {
            "axis": "rows of a file",
            "value": rows,
            "rows": rows,
            "rows_per_second": rows / seconds,
            "peak_memory_bytes": peak,
        }


def trained(folder: Path, generator: np.random.Generator, threads: int) -> Path:
    """A complete run of `tfidf` on 2,000 made rows."""
    write(folder / "train.csv", 2_000, generator)
    recipe = {
        "name": "scaling",
        "task": {"name": "scaling", "text": "text", "label": "kind", "data": {"train": {"path": "train.csv"}}},
        "methods": [{"kind": "tfidf"}],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = [
        sys.executable,
        "-P",
        "-m",
        "adjudge.cli",
        "run",
        str(folder / "recipe.yaml"),
        "--runs",
        str(folder / "runs"),
    ]
    timed([*command, "--data", str(folder)], threads)
    (run,) = find_runs(list((folder / "runs").iterdir()))
    return run.path


def write(path: Path, rows: int, generator: np.random.Generator) -> None:
    """A file of rows of 20 made words with one word that gives the label away; written in parts."""
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "e", "io", "ou") for c in ("n", "rt", "st")])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "kind"])
        for first in range(0, rows, 10_000):
            part = min(10_000, rows - first)
            drawn, labels = generator.choice(words, size=(part, 20)), generator.integers(3, size=part)
            writer.writerows(
                [f"{' '.join(line)} sign{label} {first + i}", f"class{label}"]
                for i, (line, label) in enumerate(zip(drawn, labels, strict=True))
            )


def timed(command: Sequence[str], threads: int) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of a process.

    Raises:
        SystemExit: it failed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=printed)
        seen = psutil.Process(process.pid)
        # Sampled: what the system reports at the end of a child counts its parent's memory at the fork too.
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, seen.memory_info().rss)
            time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - began
        printed.seek(0)
        said = printed.read().strip().splitlines()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:5])} failed: {said[-1] if said else 'it said nothing'}")
    return seconds, peak


def draw(points: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel an axis: rows per second on the left scale, peak memory on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = list(dict.fromkeys(point["axis"] for point in points))
    figure, panels = pyplot.subplots(1, len(axes), figsize=(4.2 * len(axes), 3.4), squeeze=False)
    for panel, axis in zip(panels[0], axes, strict=True):
        here = [point for point in points if point["axis"] == axis]
        values = [max(1, point["value"]) for point in here]
        panel.plot(values, [point["rows_per_second"] for point in here], "o-", color="#20639b")
        panel.set(xscale="log", yscale="log", xlabel=axis, ylabel="rows per second")
        right = panel.twinx()
        right.plot(values, [point["peak_memory_bytes"] / 1e9 for point in here], "s--", color="#b4531f")
        right.set(ylabel="peak memory, GB (dashed)", ylim=(0, None))
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096, help="text tokens of a point (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed repeats of a point (default %(default)s)")
    parser.add_argument("--longest", type=int, default=8192, help="leave out longer texts and prompts")
    parser.add_argument("--labels", type=int, default=1000, help="leave out larger label sets")
    parser.add_argument("--rows", type=int, default=1_000_000, help="leave out larger files")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="default: cores, %(default)s")
    parser.add_argument("--no-record", action="store_true", help="print only; nothing is written to results/")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    before, points = machine(options.threads), []
    with tempfile.TemporaryDirectory(prefix="adjudge-bench-") as folder:
        for part in (lengths(options), sizes(options, Path(folder))):
            for point in part:
                say(f"{point['axis']} {point['value']}: {point['rows_per_second']:.2f} rows/s")
                points.append(point)
    columns = ("axis", "value", "rows", "rows/s", "ms a text token", "peak memory GB")
    keys = ("axis", "value", "rows", "rows_per_second", "milliseconds_per_token")
    print(table(columns, [[*(point.get(key) for key in keys), point["peak_memory_bytes"] / 1e9] for point in points]))
    if not options.no_record:
        draw(points, RESULTS / "scaling.png")
        say(f"appended to {append('scaling', {'machine': before, 'points': points})}")


if __name__ == "__main__":
    main()
