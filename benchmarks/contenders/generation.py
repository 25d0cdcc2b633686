"""The usual way to classify with a generating model: Transformers' text-generation pipeline, then word match.

python generation.py JOB.json
"""

from __future__ import annotations

import re

from pace import Pace, read_job
from transformers import pipeline


def matched(reply: str, words: list[str]) -> int:
    """The label whose word comes first in a reply, or -1."""
    found = re.search(rf"\b({'|'.join(map(re.escape, words))})\b", reply.lower())
    return words.index(found[1]) if found else -1


def main() -> None:
    job, pace = read_job(), Pace()
    generate = pipeline("text-generation", model=job["model"], dtype=job["dtype"], device="cpu")
    generate.tokenizer.padding_side = "left"
    words = [word.strip().lower() for word in job["words"]]
    chosen: list[int] = []
    pace.ready()
    done = 0
    while (amount := pace.wait()) is not None:
        prompts = [job["prompts"][(done + i) % len(job["prompts"])] for i in range(amount)]
        options = {"max_new_tokens": job["new_tokens"], "do_sample": False, "return_full_text": False}
        if job["batch_size"] > 1:
            replies = generate(prompts, batch_size=job["batch_size"], **options)
        else:
            replies = [generate(prompt, **options) for prompt in prompts]
        found = [matched(reply[0]["generated_text"], words) for reply in replies]
        pace.count(rows=amount, without_label=found.count(-1))
        pace.report()
        chosen, done = [*chosen, *found], done + amount
    pace.end(chosen=chosen, share_without_label=chosen.count(-1) / max(1, len(chosen)))


if __name__ == "__main__":
    main()
