"""Saved classifiers: a folder with ``classifier.json`` (what it is) and safetensors (its arrays)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adjudge.core.atomic import read_json
from adjudge.core.errors import DataError
from adjudge.core.protocols import Classifier
from adjudge.core.registry import Entry, Registry

FORMAT = 1

CLASSIFIERS: Registry[Callable[[Path], Classifier]] = Registry(
    "classifier",
    {
        "majority": Entry("adjudge.models.classifiers.majority:MajorityClassifier.load", "label shares"),
        "tfidf": Entry("adjudge.models.classifiers.tfidf:TfidfClassifier.load", "n-grams and a linear layer"),
        "ensemble": Entry(
            "adjudge.models.classifiers.ensemble:EnsembleClassifier.load", "several classifiers that vote"
        ),
        "neural": Entry(
            "adjudge.models.classifiers.neural:NeuralClassifier.load", "a model with a score or a label head"
        ),
        "sequence": Entry(
            "adjudge.models.classifiers.sequence:SequenceClassifier.load", "a model with a head of its own"
        ),
    },
)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``classifier.json`` of a saved classifier.

    Raises:
        DataError: the folder holds no saved classifier, or one of an unknown format.
    """
    file = folder / "classifier.json"
    if not file.is_file():
        raise DataError(f"{folder}: no saved classifier (it has no classifier.json)")
    try:
        manifest = read_json(file)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: not valid JSON ({error})") from error
    if manifest.get("format") != FORMAT:
        raise DataError(f"{file}: format {manifest.get('format')!r} is unknown; this version reads {FORMAT}")
    return dict(manifest)


def load_classifier(folder: Path) -> Classifier:
    """Load a classifier that `Classifier.save` wrote. Nothing is unpickled and no remote code runs.

    Args:
        folder: the ``model/`` folder of a run.

    Raises:
        DataError: the folder holds no saved classifier.
        ConfigError: it is of an unknown kind.
        ModelNotFoundError: it stands on a model that cannot be had here.
    """
    return CLASSIFIERS.load(str(read_manifest(folder)["kind"]))(folder)
