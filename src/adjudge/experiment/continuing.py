"""Training on with an existing run: where it starts, and what it has forgotten when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adjudge.core.errors import ConfigError, DataError
from adjudge.core.hashing import hash_text
from adjudge.core.problem import problem_of
from adjudge.core.protocols import Classifier, Progress, replies_of
from adjudge.core.runs import Predicted, Run, prediction_table
from adjudge.core.types import Split
from adjudge.evaluate.paired_runs import paired_tables
from adjudge.experiment.source_runs import open_run
from adjudge.recipe.recipe import PlannedRun


@dataclass(frozen=True)
class StartingPoint:
    """A complete run whose classifier is trained on.

    Attributes:
        run: its folder.
        record: its ``run.json``.
        test: the test rows that it was measured on, or None.
        test_missing: why not, or an empty string.
    """

    run: Run
    record: dict[str, Any]
    test: Split | None
    test_missing: str = ""

    @property
    def model(self) -> Path:
        """The folder of its classifier."""
        return self.run.path / "model"

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set, in order."""
        return tuple(self.record["task"]["labels"])

    def identity(self) -> dict[str, str]:
        """What of it shapes a run that starts here; becomes ``config.from``."""
        return {"run": str(self.record["name"]), "config_hash": str(self.record["config_hash"])}

    def require_plan(self, planned: Sequence[PlannedRun]) -> None:
        """Refuse a plan that cannot start here.

        Raises:
            ConfigError: a run of the plan is of another method or model, or of a method that is not trained in steps.
        """
        problems = []
        model = (self.record["model"] or {}).get("id")
        for one in planned:
            if not hasattr(one.options, "training"):
                problems.append(f"{one.name}: {one.method!r} has no training that could go on; it is fitted anew")
            elif one.method != self.record["method"]:
                problems.append(f"{one.name}: the method is {one.method!r}, that of the run {self.record['method']!r}")
            elif one.model != model:
                problems.append(f"{one.name}: the model is {one.model!r}, that of the run {model!r}")
        if problems:
            asked = f"--from {self.run.name}: the recipe must hold runs of the same method and model alone"
            raise ConfigError([asked, *problems])

    def require_labels(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The run's labels, in its order, if they are these.

        Raises:
            DataError: the data has labels that the run does not know, or lacks some.
        """
        added, gone = sorted(set(labels) - set(self.labels)), sorted(set(self.labels) - set(labels))
        if added or gone:
            differences = [f"new: {', '.join(map(repr, added))}"] if added else []
            differences += [f"missing: {', '.join(map(repr, gone))}"] if gone else []
            raise DataError(
                f"--from {self.run.name}: the labels must be the run's own ({', '.join(self.labels)}); "
                f"{'; '.join(differences)}. A head answers with the labels that it was built for: name them all under "
                "`labels` of the task, or train a new run on the old and the new data together"
            )
        return self.labels

    def forgetting(self, classifier: Classifier, train: Split, progress: Progress) -> dict[str, Any]:
        """The old test set, answered before and after; JSON-ready, goes into ``facts.forgetting``.

        Test rows whose text is in the new training data are left out: there is nothing to forget about them.

        Args:
            classifier: as trained on.
            train: the rows that it was trained on.
            progress: where to show how far the prediction is.

        Returns:
            ``run`` and ``message`` where there is nothing to check; else ``run``, ``left_out_rows``, and ``rows``,
            ``changed``, ``mcnemar_p``, ``accuracy`` and ``macro_f1`` as of `adjudge.evaluate.paired_runs.paired`.
        """
        name = str(self.record["name"])
        if self.test is None:
            return {"run": name, "message": f"not checked: {self.test_missing}"}
        learned = {hash_text(text) for text in train.texts}
        at = [i for i, text in enumerate(self.test.texts) if hash_text(text) not in learned]
        known = [i for i in at if self.test.labels[i] is not None]
        if not known:
            return {"run": name, "message": "not checked: every old test text is in the new training data"}
        rows = self.test.take(known)
        logits = classifier.predict_logits(rows.texts, progress)
        probs = classifier.decision.probabilities(logits, classifier.temperature)
        replies = replies_of(classifier, rows.texts, progress)
        counted = classifier.count_tokens(rows.texts)
        problem = problem_of(self.record["task"])  # whose way of writing sets may be another one
        decision = replace(classifier.decision, problem=problem)
        after = prediction_table(rows, Predicted(self.labels, logits, probs, *counted, replies, decision))
        before = self.run.predictions("test")[known]
        tested = paired_tables(before, after, self.labels, problem)
        return {"run": name, "left_out_rows": len(self.test) - len(rows), **tested}


def starting_point(folder: Path) -> StartingPoint:
    """Open a run to train on from.

    Raises:
        DataError: the folder is no run, the run is not complete, or it holds no model.
    """
    run = Run(folder.resolve())
    record = run.record()
    if record["status"] != "complete":
        raise DataError(f"--from {folder}: the run is {record['status']}, not complete; run its recipe again")
    if not (run.path / "model").is_dir():
        raise DataError(f"--from {folder}: the run holds no model")
    if not (run.path / "predictions" / "test.parquet").is_file():
        return StartingPoint(run, record, None, "the run has no test rows")
    if run.texts() is None:
        return StartingPoint(run, record, None, "the run stored no texts (store_texts: false)")
    return StartingPoint(run, record, open_run(run, replies=True).splits["test"])
