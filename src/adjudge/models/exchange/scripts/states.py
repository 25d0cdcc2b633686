"""Texts (a JSON list on standard input) to probabilities (JSON on standard output), with plain Transformers."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

if not sys.stderr.isatty():
    logging.disable_progress_bar()  # a log has no use for it
folder = Path(__file__).parent
tokenizer = AutoTokenizer.from_pretrained(folder)  # puts the prompt around each text and pads on the right
model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
head, settings = load_file(folder / "head.safetensors"), json.loads((folder / "head.json").read_text("utf-8"))

probabilities: list[list[float]] = []
for text in json.load(sys.stdin):
    batch = tokenizer([text], truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state[:, settings["skip"] :]
    mask = batch["attention_mask"][:, settings["skip"] :]
    if settings["pooling"] == "mean":
        pooled = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    else:
        at = mask.sum(dim=1) - 1 if settings["pooling"] == "last" else torch.zeros(len(hidden), dtype=torch.long)
        pooled = hidden[torch.arange(len(hidden)), at]
    logits = pooled @ head["weight"].T + head["bias"]  # the temperature is in the weights
    several = settings["activation"] == "sigmoid"  # a text may have any number of labels
    probabilities += (logits.sigmoid() if several else logits.softmax(dim=-1)).tolist()
json.dump(probabilities, sys.stdout)
