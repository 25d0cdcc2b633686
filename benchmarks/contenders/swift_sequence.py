"""ms-swift's sequence classification with LoRA adapters: ``swift sft --task_type seq_cls``.

python swift_sequence.py JOB.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pace import Pace, read_job
from pace_steps import StepTurns
from swift.pipelines import SwiftSft


class PacedSft(SwiftSft):
    """ms-swift's own pipeline; a callback takes the turns, and the held-out rows are predicted behind it."""

    pace: Pace

    def train(self, trainer: Any) -> Any:
        trainer.add_callback(StepTurns(self.pace))
        done = super().train(trainer)
        predicted = trainer.predict(trainer.eval_dataset)
        logits, gold = torch.from_numpy(np.asarray(predicted.predictions)).float(), np.asarray(predicted.label_ids)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(gold).long())
        self.pace.end(held_out_log_loss=float(loss))
        return done


def main() -> None:
    job = read_job()
    folder = Path(job["scratch"])
    for name in ("train", "held_out"):
        rows = (
            {"messages": [{"role": "user", "content": row["prompt"]}], "label": job["labels"].index(row["label"])}
            for row in job[name]
        )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "model": job["model"],
        "model_type": "llama",
        "template": "dummy",
        "use_hf": True,
        "task_type": "seq_cls",
        "num_labels": len(job["labels"]),
        "problem_type": "single_label_classification",
        "use_chat_template": False,
        "dataset": str(folder / "train.jsonl"),
        "val_dataset": str(folder / "held_out.jsonl"),
        "tuner_type": "lora",
        "target_modules": "all-linear",
        "lora_rank": job["rank"],
        "lora_alpha": job["alpha"],
        "lora_dropout": 0.0,
        "max_length": job["max_tokens"],
        "output_dir": str(folder / "output"),
        "per_device_train_batch_size": job["batch_size"],
        "per_device_eval_batch_size": job["batch_size"],
        "gradient_accumulation_steps": 1,
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "adam_beta2": 0.999,
        "num_train_epochs": 1,
        "torch_dtype": "bfloat16",
        "bf16": job["bf16"],
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "dataloader_num_workers": 0,
        "use_cpu": True,
        "seed": job["seed"],
        **job["options"],
    }
    PacedSft.pace = Pace()
    PacedSft([part for name, value in values.items() for part in (f"--{name}", str(value))]).main()


if __name__ == "__main__":
    main()
