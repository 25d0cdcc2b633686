"""The peer of train_cpu_encoder: a plain Transformers Trainer script, run in an environment of its own.

    python trainer_encoder.py JOB.json      prints one line of JSON

The job names model folder, rows, labels, batch size, maximum length, learning rate and threads. Padding is to the
longest row of a batch (DataCollatorWithPadding), the optimiser is the default (fused AdamW): what a careful user
writes today.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

WARM_STEPS = 3


class Clock(TrainerCallback):
    """Notes when every step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_args: object, **_keywords: object) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    names = job["labels"]

    def encode(texts: list[str], labels: list[str]) -> list[dict[str, object]]:
        ids = tokenizer(texts, truncation=True, max_length=job["max_tokens"])["input_ids"]
        return [{"input_ids": row, "labels": names.index(label)} for row, label in zip(ids, labels, strict=True)]

    train, held_out = encode(*job["train"]), encode(*job["held_out"])
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=len(names))
    clock = Clock()
    arguments = TrainingArguments(
        output_dir=job["scratch"],
        per_device_train_batch_size=job["batch_size"],
        per_device_eval_batch_size=64,
        num_train_epochs=1,
        learning_rate=job["learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=job["warmup_steps"],
        weight_decay=0.01,
        bf16=job["bf16"],
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=job["seed"],
    )
    trainer = Trainer(
        model, arguments, train_dataset=train, data_collator=DataCollatorWithPadding(tokenizer), callbacks=[clock]
    )
    trainer.train()
    logits = torch.from_numpy(np.asarray(trainer.predict(held_out).predictions))
    gold = torch.tensor([row["labels"] for row in held_out])
    steady = (len(clock.ends) - WARM_STEPS) * job["batch_size"] / (clock.ends[-1] - clock.ends[WARM_STEPS - 1])
    loss = float(torch.nn.functional.cross_entropy(logits.float(), gold))
    print(json.dumps({"rows_per_second": steady, "held_out_log_loss": loss, "steps": len(clock.ends)}))


if __name__ == "__main__":
    main()
