"""Texts (a JSON list on standard input) to probabilities (JSON on standard output), with plain Transformers."""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

if not sys.stderr.isatty():
    logging.disable_progress_bar()  # a log has no use for it
folder = Path(__file__).parent
tokenizer = AutoTokenizer.from_pretrained(folder)  # puts the prompt around each text
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

probabilities: list[list[float]] = []
for text in json.load(sys.stdin):
    batch = tokenizer([text], truncation=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits  # the temperature is in the weights
    several = model.config.problem_type == "multi_label_classification"
    probabilities += (logits.sigmoid() if several else logits.softmax(dim=-1)).tolist()
json.dump(probabilities, sys.stdout)
