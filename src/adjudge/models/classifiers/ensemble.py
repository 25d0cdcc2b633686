"""Several classifiers as one: a weighted mean of their calibrated probabilities (a soft vote)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adjudge.core.atomic import atomic_path, write_json
from adjudge.core.decision import Decision
from adjudge.core.errors import DataError
from adjudge.core.protocols import Batching, BatchTolerance, Classifier, Progress
from adjudge.models.classifiers.linear import F32
from adjudge.models.classifiers.storage import FORMAT, load_classifier, read_manifest


class EnsembleClassifier:
    """A soft vote. Its logits are those of the mean probabilities, so at temperature 1 it is the vote itself.

    Args:
        members: classifiers of one label set and problem, the columns in one order.
        weights: ``[M]`` of the vote, at least 0 and summing to 1; default: equal.
        temperature: divides the logits.
        thresholds: the vote's own, of a multi-label one; see `Decision`.

    Raises:
        DataError: no members, label sets or problems that differ, or weights that are none.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        weights: Sequence[float] | None = None,
        temperature: float = 1.0,
        thresholds: Sequence[float] = (),
    ) -> None:
        if len({(member.labels, member.decision.problem.model_dump_json()) for member in members}) != 1:
            raise DataError(
                "an ensemble needs at least one member, and one label set in one order and one problem for all of them"
            )
        self.members = tuple(members)
        shares = [1 / len(members)] * len(members) if weights is None else [float(weight) for weight in weights]
        if len(shares) != len(members) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise DataError(f"weights must be {len(members)} numbers of at least 0 that sum to 1, got {shares}")
        self.weights = tuple(shares)
        self.temperature = temperature
        self.decision = Decision(self.members[0].decision.problem, tuple(thresholds))

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the columns."""
        return self.members[0].labels

    @property
    def batch_tolerance(self) -> BatchTolerance | None:
        """The widest of the members'; see `adjudge.core.protocols.Batching`."""
        known = [member.batch_tolerance for member in self.members if isinstance(member, Batching)]
        widest = [tolerance for tolerance in known if tolerance is not None]
        return max(widest, key=lambda tolerance: (tolerance.stated, tolerance.most), default=None)

    def predict_logits(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """Logits of the members' mean probabilities, ``[N, C]``: see `Decision.logits`."""
        voted = np.zeros((len(texts), len(self.labels)))
        for weight, member in zip(self.weights, self.members, strict=True):
            voted += weight * member.predict_proba(texts, progress).astype(np.float64)
        return self.decision.logits(voted)

    def predict_proba(self, texts: Sequence[str], progress: Progress | None = None) -> F32:
        """The vote, sharpened or flattened by the temperature, ``[N, C]``."""
        return self.decision.probabilities(self.predict_logits(texts, progress), self.temperature)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The answer of the vote for each text: the label with the largest one, or the set; never abstains."""
        return self.decision.answers(self.predict_proba(texts), self.labels)

    def count_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The largest of the members' counts, and whether any of them cuts the text: two arrays ``[N]``."""
        counted = [member.count_tokens(texts) for member in self.members]
        return np.max([count for count, _ in counted], axis=0), np.any([cut for _, cut in counted], axis=0)

    def save(self, path: Path) -> None:
        """Write ``classifier.json`` and each member (``members/<number>``) into the folder ``path``, replacing it."""
        with atomic_path(path) as folder:
            folder.mkdir()
            for number, member in enumerate(self.members):
                member.save(folder / "members" / f"{number:02d}")
            manifest = {"format": FORMAT, "kind": "ensemble", "labels": list(self.labels)}
            manifest |= {"weights": list(self.weights), "temperature": self.temperature, **self.decision.to_json()}
            write_json(folder / "classifier.json", manifest)

    @classmethod
    def load(cls, path: Path) -> EnsembleClassifier:
        """Load what `save` wrote.

        Raises:
            DataError: the folder holds no saved classifier, or its members do not fit it.
        """
        manifest = read_manifest(path)
        members = [load_classifier(folder) for folder in sorted((path / "members").glob("*"))]
        if any(list(member.labels) != manifest["labels"] for member in members):
            raise DataError(f"{path}: a member's labels are not those of the ensemble; build it again")
        return cls(members, manifest["weights"], float(manifest["temperature"]), manifest.get("thresholds", ()))
