"""The round trip: what was saved is loaded by a fresh process and must answer as the fitted classifier did.

``python -m adjudge.models.classifiers.round_trip MODEL PROBE ANSWER`` is that fresh process: it loads the classifier
in the folder MODEL, predicts the texts of PROBE (a JSON list) and writes their probabilities to ANSWER (``.npy``), and
what a head that writes answers to ``ANSWER.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adjudge.core import processes
from adjudge.core.atomic import read_json, write_json
from adjudge.core.errors import WorkError
from adjudge.core.protocols import Classifier, replies_of
from adjudge.models.classifiers.storage import load_classifier

TOLERANCE = 1e-5
_TOLERANCES = {"bfloat16": 2e-3, "float16": 2e-3}

PROBE_ROWS = 16


def tolerance_of(record: dict[str, Any]) -> float:
    """What a run's classifier may differ by, by the precision it computes in; other threads round differently."""
    return _TOLERANCES.get(str(record["facts"].get("precision")), TOLERANCE)


@dataclass(frozen=True)
class RoundTrip:
    """What the comparison found; goes into run.json.

    Attributes:
        rows: texts of the probe batch.
        largest_difference: largest absolute difference of a probability.
        tolerance: what is allowed; probabilities are float32.
        different_replies: replies that differ, of a head that writes; None of others.
    """

    rows: int
    largest_difference: float
    tolerance: float
    different_replies: int | None = None

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def probe_texts(texts: Sequence[str], rows: int = PROBE_ROWS) -> list[str]:
    """A probe batch: texts spread evenly over the order of length, the shortest and the longest among them."""
    by_length = sorted(texts, key=len)
    at = np.unique(np.linspace(0, len(by_length) - 1, min(rows, len(by_length))).round().astype(int))
    return [by_length[i] for i in at] if by_length else []


def verify_saved(
    classifier: Classifier, model: Path, texts: Sequence[str], *, tolerance: float = TOLERANCE
) -> RoundTrip:
    """Load a saved classifier in a fresh process and compare its probabilities with the fitted one's.

    Args:
        classifier: the classifier that was saved.
        model: the folder it was saved to.
        texts: the probe batch; predicted as one batch by both.
        tolerance: largest allowed absolute difference of a probability (float32). Above `TOLERANCE`, in half
            precision, a reply may differ too: the nearest of ties that rounding decides.

    Raises:
        WorkError: the fresh process failed, its labels or thresholds differ, a probability differs by more, or a
            reply differs.
    """
    expected, replies = classifier.predict_proba(texts), _written(classifier, texts)
    with tempfile.TemporaryDirectory(prefix="adjudge-verify-") as folder:
        probe, answer = Path(folder) / "probe.json", Path(folder) / "answer.npy"
        # Escaped, because a text may hold half of a surrogate pair, which UTF-8 cannot.
        asked = {"texts": list(texts), "labels": list(classifier.labels), "decision": classifier.decision.to_json()}
        probe.write_text(json.dumps(asked), encoding="utf-8")
        done = processes.run(
            processes.module_command("adjudge.models.classifiers.round_trip", str(model), str(probe), str(answer))
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise WorkError(
                f"{model.name}: round trip: the saved model could not be loaded in a fresh process: {last[0]}"
            )
        found: npt.NDArray[np.float32] = np.load(answer, allow_pickle=False)
        again = read_json(answer.with_suffix(".json"))
    difference = _largest_difference(expected, found)
    if not difference <= tolerance:
        raise WorkError(
            f"{model.name}: round trip: a probability of the reloaded model differs by {difference:.3g} "
            f"on {len(texts)} probe texts, allowed {tolerance:g}; the saved model is not the fitted one"
        )
    if replies is None:
        return RoundTrip(len(texts), difference, tolerance)
    different = sum(one != other for one, other in zip(replies, again, strict=True))
    if different and tolerance <= TOLERANCE:
        raise WorkError(
            f"{model.name}: round trip: {different} of {len(texts)} replies of the reloaded model differ; "
            "the saved model is not the fitted one"
        )
    return RoundTrip(len(texts), difference, tolerance, different)


def _written(classifier: Classifier, texts: Sequence[str]) -> list[str] | None:
    replies = replies_of(classifier, texts)
    return None if replies is None else [reply.text for reply in replies]


def _largest_difference(expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    if expected.shape != found.shape:
        return float("inf")
    return float(np.abs(expected.astype(np.float64) - found).max(initial=0.0))


def main(arguments: Sequence[str]) -> None:
    """Predict a probe batch with a saved classifier; see the head of this file."""
    model, probe, answer = (Path(argument) for argument in arguments)
    asked = json.loads(probe.read_text(encoding="utf-8"))
    classifier = load_classifier(model)
    if list(classifier.labels) != asked["labels"]:
        raise WorkError(f"labels after loading are {list(classifier.labels)}, before saving {asked['labels']}")
    decision = classifier.decision.to_json()
    if decision != asked["decision"]:
        raise WorkError(f"what decides is {decision} after loading, and was {asked['decision']} before saving")
    with answer.open("wb") as stream:
        np.save(stream, classifier.predict_proba(asked["texts"]), allow_pickle=False)
    write_json(answer.with_suffix(".json"), _written(classifier, asked["texts"]))


if __name__ == "__main__":
    main(sys.argv[1:])
