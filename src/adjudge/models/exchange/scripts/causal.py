"""Texts (a JSON list on standard input) to probabilities (JSON on standard output), with plain Transformers."""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

if not sys.stderr.isatty():
    logging.disable_progress_bar()  # a log has no use for it
folder = Path(__file__).parent
tokenizer = AutoTokenizer.from_pretrained(folder)
gguf = "model.gguf" if (folder / "model.gguf").is_file() else None
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, gguf_file=gguf).eval()
prompt = json.loads((folder / "prompt.json").read_text("utf-8"))

probabilities: list[list[float]] = []
for text in json.load(sys.stdin):
    words = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = [*prompt["prefix_ids"], *words[: prompt["text_tokens"]], *prompt["suffix_ids"]]
    scores = torch.zeros(len(prompt["offset"]))
    for branch in prompt["branches"]:  # where the labels' words part: at the answer slot, and behind shared tokens
        with torch.inference_mode():
            logits = model(torch.tensor([ids + branch["path"]])).logits[0, -1].float()
        tokens = branch["tokens"]
        turns = logits.log_softmax(dim=-1)[tokens] if prompt["vocabulary"] else logits[tokens].log_softmax(dim=-1)
        for turn, labels in zip(turns, branch["labels"], strict=True):
            scores[labels] += turn
    scores = scores / torch.tensor(prompt["lengths"]) + torch.tensor(prompt["offset"])
    probabilities.append((scores / prompt["temperature"]).softmax(dim=-1).tolist())
json.dump(probabilities, sys.stdout)
