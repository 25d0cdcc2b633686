"""Time, memory and near-duplicate recall of the data gate on made texts.

    python benchmarks/data_gate.py --rows 1000000

Texts are 20 words drawn from a vocabulary of 50,000 made words (two to four syllables) with Zipf frequencies. Planted
are 1,000 near duplicates of train texts: one word of the 20 (500 pairs) or two words (500 pairs) replaced by other
words drawn with equal chances from the vocabulary, so that no planted text is left out for how similar it came out.
They lie in four splits of 250 rows, so that the report lists all of their rows and recall is read off it alone.
Prints JSON, and appends it to benchmarks/results/data_gate.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adjudge.core.types import Split
from adjudge.data.checks.near import jaccard, shingle_set
from adjudge.data.gate import GateOptions, check

WORDS, VOCABULARY, PLANTED, PARTS = 20, 50_000, 1_000, 4
RESULTS = Path(__file__).parent / "results" / "data_gate.jsonl"


def vocabulary(generator: np.random.Generator) -> np.ndarray:
    """Distinct words of two to four consonant-vowel syllables."""
    syllables = np.array([c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"])
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(generator.choice(syllables, size=generator.integers(2, 5)))] = None
    return np.array(list(words), dtype=object)


def make(rows: int, seed: int) -> tuple[dict[str, Split], list[tuple[int, str, int, float, int]]]:
    """Splits, and the planted pairs as (train row, split, its row, exact Jaccard, words changed)."""
    generator = np.random.default_rng(seed)
    words = vocabulary(generator)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    drawn = generator.choice(VOCABULARY, size=(rows - PLANTED, WORDS), p=weights / weights.sum())
    texts = [" ".join(words[line]) for line in drawn]
    held_out = rows // 20
    cut = len(texts) - 2 * held_out
    parts = {"train": texts[:cut], "validation": texts[cut : cut + held_out], "test": texts[cut + held_out :]}
    planted = []
    for number, origin in enumerate(generator.choice(cut, size=PLANTED, replace=False).tolist()):
        changes = 1 + number % 2
        line = drawn[origin].copy()
        line[generator.choice(WORDS, size=changes, replace=False)] = generator.integers(VOCABULARY, size=changes)
        name = f"planted-{number % PARTS + 1}"
        twin = " ".join(words[line])
        parts.setdefault(name, []).append(twin)
        similarity = jaccard(shingle_set(texts[origin]), shingle_set(twin))
        planted.append((origin + 1, name, len(parts[name]), similarity, changes))
    labels = ("anger", "fear", "joy", "love", "sadness", "surprise")
    splits = {
        name: Split(
            name=name,
            texts=part,
            labels=[labels[i] for i in generator.integers(len(labels), size=len(part))],
            row_ids=[f"{name}-{i}" for i in range(len(part))],
            row_numbers=range(1, len(part) + 1),
        )
        for name, part in parts.items()
    }
    return splits, planted


def measure(rows: int, threshold: float, seed: int) -> dict[str, Any]:
    """Run the gate once and describe what it took and found."""
    splits, planted = make(rows, seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    load = round(os.getloadavg()[0], 2)  # other work on the machine makes the wall time say little
    wall, cpu = time.perf_counter(), time.process_time()
    report = check(splits, options=GateOptions(near_duplicate_threshold=threshold))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found: set[tuple[str, int]] = set()
    for finding in report.findings:
        if finding.code == "near_duplicate" and "train" in finding.splits and finding.splits[-1].startswith("planted"):
            assert not finding.rows_truncated
            found |= {(row["split"], row["row"]) for row in finding.rows}
    hits = [((name, row) in found and ("train", origin) in found) for origin, name, row, _, _ in planted]

    def recall(keep: list[bool]) -> float | None:
        return round(float(np.mean([hit for hit, kept in zip(hits, keep, strict=True) if kept])), 4)

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "words_per_row": WORDS,
        "threshold": threshold,
        "seed": seed,
        "wall_seconds": round(wall, 2),
        "process_cpu_seconds": round(cpu, 2),
        "load_average_before": load,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_memory_bytes_before": before,
        "planted_pairs": PLANTED,
        "recall": recall([True] * PLANTED),
        "recall_one_word": recall([changes == 1 for *_, changes in planted]),
        "recall_two_words": recall([changes == 2 for *_, changes in planted]),
        "recall_at_or_above_threshold": recall([similarity >= threshold for *_, similarity, _ in planted]),
        "share_at_or_above_threshold": float(np.mean([similarity >= threshold for *_, similarity, _ in planted])),
        "planted_jaccard_quantiles": {
            str(q): round(float(np.quantile([similarity for *_, similarity, _ in planted], q)), 3)
            for q in (0.0, 0.05, 0.5, 1.0)
        },
        "findings": {f"{finding.code}: {', '.join(finding.splits)}": finding.count for finding in report.findings},
        "machine": machine(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("adjudge", "numpy", "polars", "rensa")},
    }


def machine() -> dict[str, Any]:
    """CPU model and cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": len(lines and [line for line in lines if line.startswith("processor")]) or None}


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threshold", type=float, default=GateOptions().near_duplicate_threshold)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    result = measure(options.rows, options.threshold, options.seed)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if not options.no_record:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(result, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
