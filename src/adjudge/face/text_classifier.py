"""`TextClassifier`: every method of adjudge behind scikit-learn's contract.

The constructor stores and nothing else; what is learned ends in ``_``; `fit` returns the estimator. It works in
`sklearn.base.clone`, `cross_val_score`, `GridSearchCV` and `Pipeline`.
"""

# ruff: noqa: N803 - X is scikit-learn's name

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from adjudge.core.atomic import atomic_path, read_json, write_json
from adjudge.core.config import StrictModel, validate
from adjudge.core.errors import ConfigError, DataError
from adjudge.core.problem import Problem
from adjudge.core.seeds import stream_generator
from adjudge.core.task import Task, load_task
from adjudge.core.types import IntArray, Split
from adjudge.evaluate.calibrate import calibrate
from adjudge.face.estimator_inputs import (
    as_labels,
    as_seed,
    as_texts,
    class_array,
    plain,
    same_length,
    sorted_classes,
)
from adjudge.face.sklearn_labels import as_cells, as_sets, parts, strata
from adjudge.methods import METHODS, MethodConfig, Setting
from adjudge.models.classifiers.round_trip import probe_texts, verify_saved
from adjudge.models.classifiers.storage import load_classifier

_OPTION = "options__"
_FILE = "text_classifier.json"


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """A text classifier by any method.

    Args:
        method: name of a method (``adjudge methods`` lists them).
        model: short name, folder or hub id, for methods that stand on a model.
        options: the method's options; one of them is ``options__<name>`` in `set_params` and in grids.
        task: a task, its mapping or its file: instruction, prompt, descriptions of labels, and `problem` where a
            text may have several labels or labels are paths in a tree. Default: none of these.
        validation_fraction: share of the rows that `fit` sets aside, stratified, when it is given no validation
            rows; above 0 and below 1.
        seed: of everything random; an integer of at least 0, or None: `fit` draws one and keeps it in ``seed_``.

    Attributes:
        classes_: ``[C]`` the labels, sorted, of the type that `y` had.
        classifier_: the fitted `adjudge.core.protocols.Classifier`; its labels are ``str`` of the classes.
        facts_: what the method wants known: parameters, tokens, choices.
        seed_: the seed that `fit` used.
    """

    def __init__(
        self,
        method: str = "tfidf",
        model: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        task: Task | Mapping[str, Any] | str | Path | None = None,
        validation_fraction: float = 0.1,
        seed: int | None = 0,
    ) -> None:
        self.method = method
        self.model = model
        self.options = options
        self.task = task
        self.validation_fraction = validation_fraction
        self.seed = seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with ``deep`` every option of the method as ``options__<name>`` too."""
        found: dict[str, Any] = super().get_params(deep=False)
        return found | self._flat_options() if deep else found

    def set_params(self, **params: Any) -> TextClassifier:
        """Set parameters; ``options__<name>`` sets one option and leaves the others.

        Raises:
            ValueError: an unknown parameter or option.
        """
        super().set_params(**{name: value for name, value in params.items() if not name.startswith(_OPTION)})
        given = {name: value for name, value in params.items() if name.startswith(_OPTION)}
        allowed = self._flat_options() if given else {}
        for name, value in given.items():
            if name not in allowed:
                raise ValueError(
                    f"Invalid parameter {name!r} for method {self.method!r}. Valid options are: {sorted(allowed)}."
                )
            # A new mapping each time: the one in place may be shared with a clone or with the caller.
            self.options = _with(self.options or {}, name.split("__")[1:], value)
        return self

    def _flat_options(self) -> dict[str, Any]:
        # Parameters that cannot work are refused by `fit`, never here: scikit-learn sets and reads anything.
        given = self.options if isinstance(self.options, Mapping) else {}
        return _flat("options", _merged(_defaults(self.method), given))

    def fit(
        self, X: Sequence[str], y: Sequence[Hashable], validation: tuple[Any, Any] | None = None
    ) -> TextClassifier:
        """Fit to texts and labels.

        Args:
            X: ``[N]`` texts.
            y: ``[N]`` labels of any hashable type; their ``str`` is what a model gets to read. Of a multi-label task
                lists, tuples or sets of texts.
            validation: ``(X, y)`` rows that choose checkpoints and calibrate; default: a stratified part of the rows.

        Raises:
            ValueError: texts, labels or a seed that cannot be used.
            ConfigError: an unknown method, or options that it does not take.
        """
        problem, seed = _stated(self.task).problem, as_seed(self.seed)
        texts, labels = as_texts(X), as_cells(as_labels(y), problem)
        same_length(texts, labels)
        classes = sorted_classes(parts(labels, problem))
        names = tuple(str(label) for label in classes)
        if len(set(names)) < len(names):
            raise ValueError(f"labels must differ as text too, got {sorted(names)}")
        index = {label: i for i, label in enumerate(classes)}
        rows = _split("train", texts, labels if problem.multi else [names[index[label]] for label in labels])
        if validation is None:
            held_out = _held_out(strata(labels, problem), plain(self.validation_fraction), seed)
            train, tuning = rows.take(np.flatnonzero(~held_out)), rows.take(np.flatnonzero(held_out), "validation")
        else:
            train, tuning = rows, _validation_split(validation, index, names, problem)
        config = self._config()
        setting = Setting(task=_task(self.task, names), labels=names, seed=seed)
        fitted = METHODS.load(self.method).fit(train, tuning, config, setting)
        calibrate(fitted.classifier, fitted.classifier.predict_logits(tuning.texts), tuning)
        self.classes_ = class_array(classes)
        self.classifier_ = fitted.classifier
        self.facts_ = dict(fitted.facts)
        self.seed_ = seed
        self._probe = probe_texts(tuning.texts)
        return self

    def predict_proba(self, X: Sequence[str]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities ``[N, C]``; columns in the order of `classes_`.

        Each row sums to 1; of a multi-label task each label has a probability of its own.
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict_proba(as_texts(X, allow_none=True))

    def predict(self, X: Sequence[str]) -> npt.NDArray[Any]:
        """The most probable label of each text, ``[N]``; of a multi-label task tuples of labels. Never abstains."""
        probs, decision = self.predict_proba(X), self.classifier_.decision
        if decision.problem.multi:
            return as_sets(decision.answers(probs, self.classifier_.labels), decision.problem)
        best = decision.best(probs, self.classifier_.labels)
        answers: npt.NDArray[Any] = self.classes_[best]
        return answers

    def score(self, X: Sequence[str], y: Sequence[Any], sample_weight: Any = None) -> float:
        """Accuracy; of a multi-label task the share of texts whose whole set is right."""
        check_is_fitted(self, "classifier_")
        problem, labels = self.classifier_.decision.problem, as_labels(y)
        if not problem.multi:
            return float(super().score(X, labels, sample_weight))
        gold = as_sets(as_cells(labels, problem), problem)
        return float(np.average(gold == self.predict(X), weights=sample_weight))

    def save(self, path: str | Path, verify: bool = False) -> None:
        """Write the classifier into a folder, JSON and safetensors only: all of it or nothing.

        Args:
            path: the folder; an earlier classifier in it is replaced once the new one is whole.
            verify: reload it in a fresh process and compare probabilities on a probe batch before it is put there.

        Raises:
            DataError: labels or options that JSON cannot hold (tuples as labels, dates), or a folder of other things.
            WorkError: the reloaded classifier answers differently.
        """
        check_is_fitted(self, "classifier_")
        folder = Path(path)
        if folder.exists() and not (folder / _FILE).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
            raise DataError(f"{folder}: is there and holds no saved TextClassifier; name another folder")
        classes = self.classes_.tolist()
        if not all(isinstance(label, str | int | float | bool) for label in classes):
            raise DataError(f"only labels that are text, numbers or booleans can be saved, got {classes[:5]}")
        params = {**self.get_params(deep=False), "task": _task_mapping(self.task), "options": self.options or None}
        saved = {"params": plain(params), "classes": classes, "facts": self.facts_, "seed": self.seed_}
        with atomic_path(folder) as target:
            target.mkdir()
            try:
                write_json(target / _FILE, {**saved, "probe": self._probe})
            except (TypeError, ValueError) as error:
                raise DataError(f"{folder}: options or a task that JSON cannot hold: {error}") from error
            self.classifier_.save(target / "model")
            if verify:
                verify_saved(self.classifier_, target / "model", self._probe)

    @classmethod
    def load(cls, path: str | Path) -> TextClassifier:
        """Load what `save` wrote.

        Raises:
            DataError: the folder holds no saved classifier.
        """
        folder = Path(path)
        if not (folder / _FILE).is_file():
            raise DataError(f"{folder}: no saved TextClassifier (it has no {_FILE})")
        saved = read_json(folder / _FILE)
        loaded = cls(**saved["params"])
        loaded.classes_ = class_array(saved["classes"])
        loaded.classifier_ = load_classifier(folder / "model")
        loaded.facts_ = saved["facts"]
        loaded.seed_ = saved.get("seed", 0)
        loaded._probe = saved["probe"]
        return loaded

    def _config(self) -> MethodConfig:
        raw = {"kind": self.method, **plain(self.options or {})}
        if self.model is not None:
            raw["model"] = self.model
        config: MethodConfig = validate(METHODS.load(self.method).config, raw, f"TextClassifier({self.method!r})")
        config.refuse_multi_label(_stated(self.task))
        head = getattr(config, "head", None)
        if "generate" in (head, getattr(head, "kind", None)):
            raise ConfigError(
                f"TextClassifier({self.method!r}): head: 'generate' may give no label for a text, and `predict` "
                "promises one for each; use 'label', or a recipe with adjudge run"
            )
        return config

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may assume: texts in one dimension go in."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags


def _defaults(method: object) -> dict[str, Any]:
    """The options of a method with their defaults; empty for a method that does not exist (`fit` says so)."""
    if not isinstance(method, str) or method not in METHODS:
        return {}
    found = {}
    for name, field in METHODS.load(method).config.model_fields.items():
        if name not in ("kind", "model"):
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            found[name] = default.model_dump() if isinstance(default, StrictModel) else default
    return found


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with their defaults, also inside options that are mappings."""
    result = {**defaults, **given}
    for name, value in given.items():
        if isinstance(value, Mapping) and isinstance(defaults.get(name), Mapping):
            result[name] = _merged(defaults[name], value)
    return result


def _flat(prefix: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """``{"options__training": {...}, "options__training__epochs": 3}``: each option, and those inside it."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found[f"{prefix}__{name}"] = value
        if isinstance(value, Mapping):
            found |= _flat(f"{prefix}__{name}", value)
    return found


def _with(options: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    inner = value if len(path) == 1 else _with(options.get(path[0]) or {}, path[1:], value)
    return {**options, path[0]: inner}


def _split(name: str, texts: Sequence[str], labels: Sequence[str]) -> Split:
    return Split(name, texts, labels, row_ids=[str(i) for i in range(len(texts))], source="memory")


def _validation_split(
    validation: tuple[Any, Any], index: Mapping[Any, int], names: Sequence[str], problem: Problem
) -> Split:
    texts, labels = as_texts(validation[0]), as_cells(as_labels(validation[1], "y of validation"), problem)
    same_length(texts, labels)
    unknown = sorted({repr(label) for label in parts(labels, problem) if label not in index})
    if unknown:
        raise ValueError(f"validation holds labels that y does not: {', '.join(unknown)}")
    return _split("validation", texts, labels if problem.multi else [names[index[label]] for label in labels])


def _held_out(targets: Sequence[int], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows ``[N]`` are set aside: of each label its share, but never its last row; at least one row in all.

    Raises:
        ValueError: a fraction that is not between 0 and 1, or no label with two rows.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {fraction}")
    labels: IntArray = np.array(targets, dtype=np.int64)
    order = stream_generator(seed, "split").permutation(len(labels))
    chosen = np.zeros(len(labels), dtype=bool)
    counts = np.bincount(labels)
    for label, count in enumerate(counts):
        take = min(int(fraction * count + 0.5), count - 1)
        chosen[order[labels[order] == label][: max(take, 0)]] = True
    if not chosen.any():
        largest = int(counts.argmax())
        if counts[largest] < 2:
            raise ValueError("y must hold a class with at least two rows, so that one can be set aside for validation")
        chosen[order[labels[order] == largest][0]] = True
    return chosen


def _task(task: Task | Mapping[str, Any] | str | Path | None, names: Sequence[str]) -> Task:
    """The task, its label set narrowed to the labels that are there.

    Raises:
        ConfigError: the task is not valid, or has a label set that lacks one of the labels.
    """
    found = _stated(task)
    if found.labels is None:
        return found
    lacking = [name for name in names if name not in found.labels]
    if lacking:
        raise ConfigError(f"task: labels: {', '.join(lacking)} occurs in y but is not in the task's label set")
    return found.model_copy(update={"labels": {name: found.labels[name] for name in names}})


def _stated(task: Task | Mapping[str, Any] | str | Path | None) -> Task:
    return validate(Task, _task_mapping(task) or {"name": "texts"}, "task")


def _task_mapping(task: Task | Mapping[str, Any] | str | Path | None) -> dict[str, Any] | None:
    if task is None:
        return None
    if isinstance(task, str | Path):
        task = load_task(Path(task))
    return task.model_dump(mode="json") if isinstance(task, Task) else dict(task)
