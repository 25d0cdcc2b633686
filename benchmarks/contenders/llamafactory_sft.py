"""LLaMA-Factory's supervised fine-tuning of LoRA adapters, as its own command runs it.

    python llamafactory_sft.py JOB.json

What the job does not name stays at LLaMA-Factory's defaults. The template ``empty`` adds nothing to the prompt.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path

from pace import Pace, read_job
from pace_steps import StepTurns

if importlib.util.find_spec("torchaudio") is None:
    # Imported by LLaMA-Factory whatever the data; its published files load beside a torch for CUDA only. An empty
    # module will do where no row holds sound.
    absent = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("torchaudio", None))
    sys.modules["torchaudio"] = absent

from llamafactory.train.tuner import run_exp


def main() -> None:
    job, pace = read_job(), Pace()
    folder = Path(job["scratch"])
    rows = [{"instruction": row["prompt"], "input": "", "output": row["answer"]} for row in job["train"]]
    (folder / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"train": {"file_name": "train.json"}}), encoding="utf-8")
    arguments = {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": job["model"],
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": job["rank"],
        "lora_alpha": job["alpha"],
        "lora_dropout": 0.0,
        "dataset": "train",
        "dataset_dir": str(folder),
        "template": "empty",
        "cutoff_len": job["max_tokens"],
        "overwrite_cache": True,
        "output_dir": job["adapter"],
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
        "plot_loss": False,
    }
    run_exp(arguments | job["options"], callbacks=[StepTurns(pace, job["cue_ids"])])
    pace.end()


if __name__ == "__main__":
    main()
