"""Texts (a JSON list on standard input) to probabilities (JSON on standard output), with ONNX Runtime alone."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = Path(__file__).parent
settings = json.loads((folder / "onnx.json").read_text("utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # puts the prompt around each text
tokenizer.encode_special_tokens = True
tokenizer.enable_truncation(settings["max_tokens"])
tokenizer.enable_padding(pad_id=settings["pad_id"], pad_token=settings["pad_token"])
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

probabilities: list[list[float]] = []
texts = json.load(sys.stdin)
for start in range(0, len(texts), 8):
    rows = tokenizer.encode_batch(texts[start : start + 8])
    inputs = {
        "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
    }
    probabilities += session.run(["probabilities"], inputs)[0].tolist()
json.dump(probabilities, sys.stdout)
