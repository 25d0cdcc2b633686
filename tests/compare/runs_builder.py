"""Synthetic run folders for the tests of `compare`: the files of a run, with answers of a known accuracy."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adjudge.core.atomic import write_json
from adjudge.core.hashing import hash_json, hash_rows
from adjudge.core.runs import Predicted, Run, prediction_table
from adjudge.core.types import Split

LABELS = ("anger", "fear", "joy", "love", "sadness", "surprise")
WORDS = tuple("i feel so calm today and the train was late again but nobody seemed to mind at all".split())  # noqa: SIM905


@dataclass(frozen=True)
class Rows:
    """Validation and test rows that every run of a comparison shares."""

    labels: tuple[str, ...]
    validation: Split
    test: Split


@dataclass(frozen=True)
class Spec:
    """One run: what it is, how often it is right, what it cost."""

    method: str
    model: str | None = None
    seed: int = 0
    accuracy: float = 0.8
    validation_accuracy: float | None = None
    seconds: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    status: str = "complete"
    error: str | None = None
    epochs: int = 0
    temperature: float = 1.0
    kinship: float = 0.8

    @property
    def name(self) -> str:
        model = f"-{self.model}" if self.model else ""
        return f"{self.method}{model}-s{self.seed}-{hash_json([self.method, self.model, self.options])[:8]}"


def make_rows(n: int = 400, labels: Sequence[str] = LABELS, seed: int = 0, texts: Sequence[str] = ()) -> Rows:
    """``n`` test rows and as many for validation; ``texts`` take the place of the first test texts."""
    generator = np.random.default_rng(seed)
    shares = 1 / np.arange(1, len(labels) + 1)
    shares /= shares.sum()

    def split(name: str) -> Split:
        gold = generator.choice(len(labels), size=n, p=shares)
        gold[: len(labels)] = range(len(labels))
        bodies = [
            " ".join(generator.choice(WORDS, size=generator.integers(3, 60)))
            + f" ({zlib.crc32(f'{name} {i}'.encode())})"
            for i in range(n)
        ]
        if name == "test":
            bodies[: len(texts)] = list(texts)
        source = [("forum", "mail", "chat")[i % 3] for i in range(n)]
        ids = [f"{name}-{i:05d}" for i in range(n)]
        return Split(name, bodies, [labels[i] for i in gold], ids, meta={"channel": source}, source=f"{name}.csv")

    return Rows(tuple(labels), split("validation"), split("test"))


def build_run(root: Path, spec: Spec, rows: Rows) -> Run:
    """Write one run folder as ``adjudge run`` would."""
    run = Run(root / spec.name)
    run.path.mkdir(parents=True)
    run.write_record(_record(spec, rows))
    if spec.status != "complete":
        return run
    run.write_predictions("validation", prediction_table(rows.validation, answer(spec, rows, rows.validation)))
    run.write_predictions("test", prediction_table(rows.test, answer(spec, rows, rows.test)))
    write_json(run.path / "check.json", _check(rows))
    pl.DataFrame(
        {
            "row_id": [*rows.validation.row_ids, *rows.test.row_ids],
            "split": ["validation"] * len(rows.validation) + ["test"] * len(rows.test),
            "text": [*rows.validation.texts, *rows.test.texts],
        }
    ).write_parquet(run.path / "texts.parquet")
    _write_log(run, spec)
    return run


def answer(spec: Spec, rows: Rows, split: Split) -> Predicted:
    """Answers of exactly the spec's accuracy (rounded to whole rows), related between methods by ``kinship``."""
    n, c = len(split), len(rows.labels)
    shared = np.random.default_rng(len(split) + (split.name == "test")).random(n)
    own = np.random.default_rng([zlib.crc32(f"{spec.method}/{spec.model}/{spec.options}".encode()), spec.seed])
    wanted = spec.accuracy
    if split.name == "validation" and spec.validation_accuracy is not None:
        wanted = spec.validation_accuracy
    hardness = spec.kinship * shared + (1 - spec.kinship) * own.random(n)
    correct = hardness.argsort().argsort() < round(wanted * n)
    gold = np.array([rows.labels.index(label) for label in split.labels])
    best = np.where(correct, gold, (gold + own.integers(1, c, size=n)) % c)
    logits = own.normal(0, 0.6, size=(n, c)).astype(np.float32)
    logits[np.arange(n), best] = logits.max(axis=1) + (1 + 9 * (1 - hardness) ** 1.5).astype(np.float32)
    scaled = logits / spec.temperature
    probs = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    lengths = np.array([len(text.split()) for text in split.texts], dtype=np.int64)
    return Predicted(rows.labels, logits, probs.astype(np.float32), lengths, lengths > 50)


def _record(spec: Spec, rows: Rows) -> dict[str, Any]:
    method = {"kind": spec.method, **({"model": spec.model} if spec.model else {}), **spec.options}
    config = {"task": {"name": "moods"}, "data": {"split_seed": 0}, "method": method, "seed": spec.seed}
    test_hash = hash_rows([(i, label or "") for i, label in zip(rows.test.row_ids, rows.test.labels, strict=True)])
    trained = spec.method in {"full", "lora"}
    record: dict[str, Any] = {
        "status": spec.status,
        "name": spec.name,
        "recipe": "moods",
        "started": "2026-11-20T10:00:00+00:00",
        "finished": "2026-11-20T10:05:00+00:00",
        "error": spec.error,
        "config": config,
        "config_hash": hash_json(config),
        "task": {"name": "moods", "version": 1, "hash": "ab" * 32, "labels": list(rows.labels)},
        "data": {
            "split_seed": 0,
            "accepted": ["overlap"],
            "splits": {
                "train": {"rows": 1600, "hash": "cd" * 32, "source": "train.csv"},
                "validation": {"rows": len(rows.validation), "hash": "ef" * 32, "source": "validation.csv"},
                "test": {"rows": len(rows.test), "hash": test_hash, "source": "test.csv"},
            },
        },
        "method": spec.method,
        "model": {"id": spec.model, "hash": "12" * 32, "license": "Apache-2.0"} if spec.model else None,
        "template": {"hash": "34" * 32, "kind": "chat", "text": "{text}"} if spec.method == "lora" else None,
        "versions": {"adjudge": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
        "hardware": {"cpu": "Example CPU", "cores": 2, "memory_bytes": 24 * 2**30, "gpu": None},
    }
    if spec.status != "complete":
        return record
    return record | {
        "labels_used": {"train": 0 if spec.method == "zero_shot" else 1600, "validation": 400, "calibration": 400},
        "calibration": {"temperature": spec.temperature},
        "cost": {
            "train_seconds": spec.seconds * 200 if trained else 0.4,
            "prediction_seconds": spec.seconds * len(rows.test) / 1000,
            "prediction_rows": len(rows.test),
            "prediction_seconds_per_1000_rows": spec.seconds,
            "train_tokens": 123_456 if trained else None,
            "peak_memory_bytes": int(spec.seconds * 2**27) + 2**28,
            "disk_bytes": int(spec.seconds * 2**23),
            "trainable_parameters": 1_234_567 if trained else None,
            "total_parameters": 134_515_008 if spec.model else None,
        },
        "facts": spec.facts,
    }


def _check(rows: Rows) -> dict[str, Any]:
    found = {
        "code": "overlap",
        "level": "error",
        "splits": ["train", "test"],
        "count": 5,
        "count_rows": 10,
        "rows": [{"split": "test", "row": 17}, {"split": "train", "row": 3}],
        "rows_truncated": False,
        "message": "5 texts of test are in train too",
    }
    note = found | {"code": "near_duplicate", "level": "note", "splits": ["train"], "message": "31 near duplicates"}
    counted = {"rows": len(rows.test), "labels": {}, "source": "test.csv"}
    return {"findings": [found, note], "splits": {"train": counted | {"rows": 1600}, "test": counted}}


def _write_log(run: Run, spec: Spec) -> None:
    events: list[dict[str, Any]] = []
    generator = np.random.default_rng(spec.seed)
    target = spec.accuracy if spec.validation_accuracy is None else spec.validation_accuracy
    for epoch in range(1, spec.epochs + 1):
        for tenth in range(1, 11):
            done = epoch - 1 + tenth / 10
            loss = 0.25 + 1.5 * np.exp(-1.5 * done) + generator.normal(0, 0.04)
            at = {"step": int(done * 100), "epoch": done, "rows_seen": int(done * 1600)}
            events.append({"event": "step", "seconds": done * 30, **at, "loss": loss, "learning_rate": 1e-4})
        score = target - 0.35 * np.exp(-1.4 * epoch)
        reached = {"loss": 0.3 + 0.8 * np.exp(-epoch), "accuracy": score, "macro_f1": score - 0.02}
        events.append({"event": "evaluation", "seconds": epoch * 30.0, **at, **reached})
    text = "".join(json.dumps(event) + "\n" for event in events)
    (run.path / "log.jsonl").write_text(text, encoding="utf-8")


def realistic_specs() -> list[Spec]:
    """Eight groups, three seeds for one of them, learning curves, scorings, and a run that ran out of memory."""
    raw = {"macro_f1": 0.31, "accuracy": 0.42}
    scorings = {"raw": raw, "pmi": {"macro_f1": 0.36, "accuracy": 0.44}, "calibrated": {"macro_f1": 0.40}}
    full = {"model": "minilm-l6", "seconds": 1.9, "temperature": 0.6, "epochs": 6}
    lora = {"model": "smollm2-135m", "temperature": 0.65, "epochs": 3}
    memory = "out of memory: 25.1 GiB wanted, 24 GiB there"
    return [
        Spec("majority", accuracy=0.41, seconds=0.002),
        Spec("tfidf", accuracy=0.872, seconds=0.06, options={"ngrams": 2}),
        Spec("embedding", "minilm-l6", accuracy=0.69, seconds=1.6),
        Spec("zero_shot", "smollm2-135m", accuracy=0.44, seconds=17.0, facts={"scorings": scorings}, temperature=1.4),
        *(Spec("full", seed=seed, accuracy=0.928 + seed / 500, **full) for seed in range(3)),
        Spec("lora", accuracy=0.936, seconds=19.0, options={"head": "score", "rank": 8}, **lora),
        Spec("lora", accuracy=0.938, seconds=21.0, options={"head": "label", "rank": 8}, **lora),
        Spec("lora", "minilm-l6", accuracy=0.9, seconds=2.2, options={"head": "score", "rank": 8}, epochs=4),
        Spec("lora", "smollm2-1.7b", status="failed", error=memory),
    ]
