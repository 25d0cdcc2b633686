"""Transformers' Trainer with PEFT's LoRA on a sequence-classification model: what a careful user writes today.

    python trainer_sequence.py JOB.json

Padding is to the longest row of a batch, the optimiser is Trainer's default (fused AdamW). Rank 0 trains the whole
model. On a GPU where the job names one, else on the CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from pace import Pace, read_job
from pace_steps import StepTurns
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main() -> None:
    job, pace = read_job(), Pace()
    torch.manual_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])

    def encode(rows: list[dict[str, str]]) -> list[dict[str, object]]:
        ids = tokenizer([row["prompt"] for row in rows], truncation=True, max_length=job["max_tokens"])["input_ids"]
        return [
            {"input_ids": i, "labels": job["labels"].index(row["label"])} for i, row in zip(ids, rows, strict=True)
        ]

    train, held_out = encode(job["train"]), encode(job["held_out"])
    model = AutoModelForSequenceClassification.from_pretrained(
        job["model"],
        num_labels=len(job["labels"]),
        dtype=job["options"]["weights"],
        attn_implementation=job["options"].get("attention", "sdpa"),
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    if job["rank"]:
        lora = LoraConfig(
            r=job["rank"], lora_alpha=job["alpha"], lora_dropout=0.0, target_modules="all-linear", task_type="SEQ_CLS"
        )
        model = get_peft_model(model, lora)
    arguments = TrainingArguments(
        output_dir=job["scratch"],
        per_device_train_batch_size=job["batch_size"],
        per_device_eval_batch_size=job["batch_size"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type="constant",
        weight_decay=job["weight_decay"],
        num_train_epochs=1.0,
        train_sampling_strategy=job["options"].get("sampling", "random"),
        bf16=job["options"]["autocast"],
        use_cpu=not job.get("gpus"),
        save_strategy="no",
        report_to="none",
        seed=job["seed"],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=train,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[StepTurns(pace)],
    )
    trainer.train()
    answered = trainer.predict(held_out)
    logits = torch.from_numpy(np.asarray(answered.predictions)).float()
    # Grouping by length orders rows in prediction too, so the labels are taken as they come back.
    gold = torch.from_numpy(np.asarray(answered.label_ids))
    pace.end(held_out_log_loss=float(torch.nn.functional.cross_entropy(logits, gold)))


if __name__ == "__main__":
    main()
