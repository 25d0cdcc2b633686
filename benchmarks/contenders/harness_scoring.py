"""lm-evaluation-harness's log-likelihoods of every label behind every row, on the ids that it is given.

python harness_scoring.py JOB.json
"""

from __future__ import annotations

import numpy as np
from lm_eval.models.huggingface import HFLM
from pace import Pace, read_job


def main() -> None:
    job, pace = read_job(), Pace()
    model = HFLM(pretrained=job["model"], device="cpu", dtype=job["dtype"], batch_size=job["batch_size"])
    contexts, continuations = job["contexts"], job["continuations"]
    chosen: list[int] = []
    pace.ready()
    done = 0
    while (amount := pace.wait()) is not None:
        rows = [(done + i) % len(contexts) for i in range(amount)]
        # The strings only name a request; what is computed are the ids.
        requests = [((str(row), str(i)), contexts[row], ids) for row in rows for i, ids in enumerate(continuations)]
        scores = model._loglikelihood_tokens(requests, disable_tqdm=True)
        table = np.array([score for score, _ in scores]).reshape(amount, len(continuations))
        pace.count(rows=amount)
        pace.report()
        chosen, done = [*chosen, *table.argmax(axis=1).tolist()], done + amount
    pace.end(chosen=chosen)


if __name__ == "__main__":
    main()
