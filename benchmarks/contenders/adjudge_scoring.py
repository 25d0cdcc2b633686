"""adjudge's scoring of label words, zero-shot or with demonstrations.

python adjudge_scoring.py JOB.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from pace import Pace, read_job

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emotion import Rows
from held_out import fit_scorer


def main() -> None:
    job, pace = read_job(), Pace()
    classifier = fit_scorer(job["method"], Rows(tuple(job["train_texts"]), tuple(job["train_labels"])))
    texts = job["texts"]
    chosen: list[int] = []
    pace.ready()
    done = 0
    while (amount := pace.wait()) is not None:
        logits = classifier.predict_logits([texts[(done + i) % len(texts)] for i in range(amount)])
        pace.count(rows=amount)
        pace.report()
        chosen, done = [*chosen, *np.asarray(logits).argmax(axis=1).tolist()], done + amount
    network = classifier.network
    pace.end(
        chosen=chosen, engine=network.engine.path, engine_reason=network.engine.reason, precision=network.precision
    )


if __name__ == "__main__":
    main()
