"""Small prediction tables for the tests of slices, arrays and whole runs."""

import numpy as np

from adjudge.core.runs import Predicted, prediction_table
from adjudge.core.types import Split
from adjudge.evaluate.calibration import softmax

LABELS = ("บวก", "negative", "😐 так себе")


def table(n=60, *, seed=0, meta=None):
    """Predictions of a classifier that is right about three times in four, over labels of several scripts."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 3, n)
    logits = (generator.normal(0, 1, (n, 3)) + 2 * np.eye(3)[gold]).astype(np.float32)
    split = Split(
        name="test",
        texts=["x" * int(length) for length in generator.integers(1, 200, n)],
        labels=[LABELS[i] for i in gold],
        row_ids=[f"r{i}" for i in range(n)],
        meta=meta or {},
    )
    predicted = Predicted(
        labels=LABELS,
        logits=logits,
        probs=softmax(logits, 1.3).astype(np.float32),
        n_tokens=np.array([len(text) // 4 for text in split.texts]),
        truncated=np.arange(n) % 4 == 0,
    )
    return prediction_table(split, predicted)
