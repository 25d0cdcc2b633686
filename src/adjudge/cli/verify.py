"""`adjudge verify`: is the saved model still the one that was measured?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adjudge.cli.shared.folders import one_run
from adjudge.cli.shared.screen import results
from adjudge.core.errors import DataError, WorkError

if TYPE_CHECKING:
    import polars as pl

    from adjudge.core.protocols import Classifier
    from adjudge.core.runs import EvaluatedSplit, Run

EPILOG = """\
[bold]Examples[/]

  adjudge verify runs/reviews/tfidf-s0-1a2b3c4d

Texts must be stored in the run (store_texts: true, the default)."""

# The prediction file was made in other batches than the probe: ten times what a fresh process may differ by.
FILE_FACTOR = 10


def verify(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> int:
    """Load a run's model in a fresh process and compare its answers with the run's prediction file.

    A probe of stored texts, the shortest to the longest, is predicted again, here and in a fresh process.
    Exit 1 if a probability differs by more than the tolerance.
    """
    import numpy as np

    from adjudge.core.protocols import replies_of
    from adjudge.models import load_classifier
    from adjudge.models.classifiers.round_trip import TOLERANCE, probe_texts, tolerance_of, verify_saved

    opened = one_run(run)
    texts = opened.texts()
    if texts is None:
        raise DataError(f"{opened.path}: keeps no texts (store_texts: false), so there is nothing to predict again")
    split: EvaluatedSplit = "test" if "test" in texts["split"] else "validation"
    predictions = opened.predictions(split)
    own = texts.filter(texts["split"] == split)
    known = dict(zip(own["row_id"], own["text"], strict=True))
    classifier = load_classifier(opened.path / "model")
    probe = probe_texts([known[row] for row in predictions["row_id"]])
    tolerance = tolerance_of(opened.record())
    trip = verify_saved(classifier, opened.path / "model", probe, tolerance=tolerance)
    by_text = {known[row]: at for at, row in enumerate(predictions["row_id"])}
    stored = predictions[[by_text[text] for text in probe]]
    probs = stored.select([f"prob_{label}" for label in classifier.labels])
    again = classifier.predict_proba(probe)
    difference = float(np.abs(probs.to_numpy().astype(np.float64) - again).max(initial=0.0))
    console = results()
    console.print(
        f"fresh process: largest difference {trip.largest_difference:.2g} on {trip.rows} texts "
        f"(allowed {trip.tolerance:g})"
    )
    console.print(f"prediction file: largest difference {difference:.2g} (allowed {FILE_FACTOR * tolerance:g})")
    if not difference <= FILE_FACTOR * tolerance:
        raise WorkError(
            f"{opened.path}: a probability of the saved model differs by {difference:.3g} from {split}.parquet, "
            f"allowed {FILE_FACTOR * tolerance:g}; the model is not the one that was measured"
        )
    _refuse_other_answers(opened, classifier, predictions)
    replies = replies_of(classifier, probe)
    if replies is not None:
        different = sum(reply.label != label for reply, label in zip(replies, stored["predicted"], strict=True))
        console.print(f"replies: {different} differ from the prediction file in what they say")
        if different and tolerance <= TOLERANCE:
            raise WorkError(
                f"{opened.path}: {different} of {len(probe)} replies of the saved model say something else than "
                f"{split}.parquet; the model is not the one that was measured"
            )
    console.print("[bold green]verified[/]: the saved model answers as it was measured")
    return 0


def _refuse_other_answers(run: Run, classifier: Classifier, predictions: pl.DataFrame) -> None:
    """Thresholds and trees move no probability, so the saved ones must give the file's answers for its probabilities.

    Raises:
        WorkError: they do not.
    """
    if classifier.decision.problem.single:
        return
    probs = predictions.select([f"prob_{label}" for label in classifier.labels]).to_numpy()
    answers = classifier.decision.answers(probs, classifier.labels)
    scored = predictions["parse_status"] == "scored"
    pairs = zip(answers, predictions["predicted"], scored, strict=True)
    different = sum(answer != told for answer, told, by_scores in pairs if by_scores)
    if different:
        raise WorkError(
            f"{run.path}: the saved thresholds or labels make other answers of {different} rows' probabilities than "
            "the prediction file has; the model is not the one that was measured"
        )
