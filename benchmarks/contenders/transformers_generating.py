"""`generate` of Transformers on prompts of given ids.

python transformers_generating.py JOB.json
"""

from __future__ import annotations

import torch
from pace import Pace, read_job
from transformers import AutoModelForCausalLM


def main() -> None:
    job, pace = read_job(), Pace()
    model = AutoModelForCausalLM.from_pretrained(job["source"], dtype=getattr(torch, job["precision"])).eval()
    ids = torch.tensor(job["prompts"])
    length = {"max_new_tokens": job["new_tokens"], "min_new_tokens": job["new_tokens"]}
    draws = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": job["samples"]}
    choice = {"do_sample": False} if job["samples"] == 1 else draws
    replies: list[list[int]] = []
    pace.ready()
    while (amount := pace.wait()) is not None:
        for _ in range(amount):
            written = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **length, **choice)
            replies = written[:, ids.shape[1] :].tolist()
            pace.count(rows=len(replies))
        pace.report()
    pace.end(replies=replies, attention=model.config._attn_implementation, precision=job["precision"])


if __name__ == "__main__":
    main()
