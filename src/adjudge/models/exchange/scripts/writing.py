"""Texts (a JSON list on standard input) to replies and labels (JSON on standard output), with plain Transformers.

A reply stands for a label where its first line is the label's word, but for case, surrounding spaces and punctuation
behind it; else its label is null.
"""

import json
import sys
import unicodedata
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


def write(text: str) -> tuple[str, bool]:
    """The reply, greedily, and whether its first line came to its end before the tokens ran out."""
    words = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = [*prompt["prefix_ids"], *words[: prompt["text_tokens"]], *prompt["suffix_ids"]]
    start = len(ids)
    for _ in range(prompt["max_new_tokens"]):
        with torch.inference_mode():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token in prompt["end_ids"]:
            return tokenizer.decode(ids[start:], clean_up_tokenization_spaces=False), True
        ids.append(token)
        reply = tokenizer.decode(ids[start:], clean_up_tokenization_spaces=False)
        if "\n" in reply.lstrip():
            return reply, True
    return reply, False


def folded(text: str) -> str:
    """The text without surrounding spaces and without differences of case or composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold())


def label_of(reply: str) -> str | None:
    """The label that a reply's first line stands for."""
    line = bare = folded(reply.strip().partition("\n")[0])
    while bare and (bare[-1].isspace() or unicodedata.category(bare[-1]).startswith("P")):
        bare = bare[:-1]
    known: dict[str, str] = prompt["labels"]
    return known.get(line) or known.get(bare)


answers: list[dict[str, str | None]] = []
for text in json.load(sys.stdin):
    reply, whole = write(text)
    answers.append({"reply": reply, "label": label_of(reply) if whole else None})
json.dump(answers, sys.stdout)
