"""Label lines from standard input as they arrive, with a saved classifier.

    python examples/predict_stream.py runs/reviews/tfidf-s0-1a2b3c4d < texts.txt

Prints the label, its probability and the text, separated by tabs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from adjudge.models import load_classifier

BATCH_ROWS = 64


def batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines without their line breaks, a batch at a time."""
    texts = (line.rstrip("\n") for line in lines)
    while batch := list(islice(texts, BATCH_ROWS)):
        yield batch


def main(run: str) -> None:
    """Predict every line of standard input."""
    classifier = load_classifier(Path(run) / "model")
    for batch in batches(sys.stdin):
        for text, probs in zip(batch, classifier.predict_proba(batch), strict=True):
            best = int(probs.argmax())
            print(f"{classifier.labels[best]}\t{probs[best]:.3f}\t{text}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
