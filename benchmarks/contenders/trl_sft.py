"""TRL's SFTTrainer with LoRA adapters on prompts and completions.

python trl_sft.py JOB.json
"""

from __future__ import annotations

from datasets import Dataset
from pace import Pace, read_job
from pace_steps import StepTurns
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main() -> None:
    job, pace = read_job(), Pace()
    rows = [{"prompt": row["prompt"], "completion": row["answer"]} for row in job["train"]]
    arguments = {
        "output_dir": job["scratch"],
        "max_length": job["max_tokens"],
        "per_device_train_batch_size": job["batch_size"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant",
        "num_train_epochs": 1.0,
        "bf16": job["bf16"],
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "seed": job["seed"],
        "disable_tqdm": True,
    }
    trainer = SFTTrainer(
        model=job["model"],
        args=SFTConfig(**(arguments | job["options"])),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        peft_config=LoraConfig(
            r=job["rank"],
            lora_alpha=job["alpha"],
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[StepTurns(pace, job["cue_ids"])],
    )
    trainer.train()
    trainer.model.save_pretrained(job["adapter"])
    pace.end()


if __name__ == "__main__":
    main()
