"""What scikit-learn's users pass as ``X``, ``y``, options and seeds, as plain Python values."""

# ruff: noqa: N803 - X is scikit-learn's name

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import DataConversionWarning

from adjudge.face.sklearn_labels import in_order


def plain(value: Any) -> Any:
    """NumPy's scalars and arrays, which grids are made of, as Python's; inside mappings and lists too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {plain(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(inner) for inner in value)
    return value


def as_seed(seed: Any) -> int:
    """A seed as an integer; in place of None one from the system's entropy.

    Raises:
        ValueError: it is neither None nor an integer of at least 0.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    found = plain(seed)
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(f"seed must be an integer of at least 0, or None for one that fit draws, got {seed!r:.60}")
    return found


def as_texts(X: Any, *, allow_none: bool = False) -> list[str]:
    """Texts from a list, an array or a column of a table.

    Raises:
        ValueError: one text instead of several, more than one dimension, an element that is no text, or no rows.
    """
    if isinstance(X, str | bytes):
        raise ValueError("X must be a list of texts, got one text; write [text]")
    texts = [str(text) if isinstance(text, str) else text for text in np.asarray(X, dtype=object).tolist()]
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ValueError(f"X must hold texts in one dimension, but row {wrong} is {texts[wrong]!r:.80}")
    if not texts and not allow_none:
        raise ValueError("Found array with 0 sample(s) while a minimum of 2 is required.")
    return texts


def as_labels(y: Any, name: str = "y") -> list[Any]:
    """Labels as Python values, so that NumPy's ints come back as ints; a column of a table is taken for its labels.

    Args:
        y: ``[N]`` labels, or ``[N, 1]`` with a warning.
        name: what it is called, for messages.

    Raises:
        ValueError: no labels at all, one text, a missing label (with its row), or numbers that are no classes.
    """
    if y is None:
        raise ValueError("TextClassifier requires y to be passed, but the target y is None")
    if isinstance(y, str | bytes):
        raise ValueError(f"{name} must be a list of labels, got one text; write [label]")
    labels = [_value(label) for label in _one_dimension(y, name)]
    missing = next((row for row, label in enumerate(labels) if _is_missing(label)), None)
    if missing is not None:
        raise ValueError(f"{name} must not hold missing labels, but row {missing} is {labels[missing]!r}")
    continuous = next((label for label in labels if isinstance(label, float) and not label.is_integer()), None)
    if continuous is not None:
        raise ValueError(
            f"Unknown label type: continuous. {name} holds numbers such as {continuous!r}, which are no classes; if "
            "they are, give them as text"
        )
    return labels


def _one_dimension(y: Any, name: str) -> Iterable[Any]:
    shape: tuple[int, ...] = tuple(np.shape(y)) if hasattr(y, "shape") else ()
    if len(shape) < 2:
        return y if isinstance(y, Iterable) else np.asarray(y)
    if len(shape) == 2 and shape[1] == 1:
        warnings.warn(
            f"A column-vector {name} was passed when a 1d array was expected; its shape should be (n_samples,)",
            DataConversionWarning,
            stacklevel=4,
        )
        return np.asarray(y, dtype=object)[:, 0]
    return np.asarray(y)


def _value(label: Any) -> Any:
    return label.as_py() if hasattr(label, "as_py") else plain(label) if isinstance(label, np.generic) else label


def _is_missing(label: Any) -> bool:
    """Whether a label, or one of several, is None, a NaN of any library or pandas' NA."""
    if isinstance(label, list | tuple | set | frozenset):
        return any(_is_missing(one) for one in label)
    if isinstance(label, np.ndarray):
        return False
    try:
        return label is None or bool(label != label)
    except (TypeError, ArithmeticError):  # pandas' NA says neither yes nor no
        return True


def same_length(texts: Sequence[str], labels: Sequence[Any]) -> None:
    """Raise ValueError where there are not as many labels as texts."""
    if len(texts) != len(labels):
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{len(texts)}, {len(labels)}]")


def sorted_classes(labels: Sequence[Any]) -> list[Any]:
    """The distinct labels in order.

    Raises:
        ValueError: fewer than two.
    """
    classes = set(labels)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got {len(classes)} class: {list(classes)}")
    return in_order(classes)


def class_array(classes: Sequence[Any]) -> npt.NDArray[Any]:
    """Classes as ``classes_``: of their own type where all share one that NumPy has, else objects."""
    if len({type(label) for label in classes}) == 1 and isinstance(classes[0], str | bool | int | float):
        return np.array(classes)
    found = np.empty(len(classes), dtype=object)
    found[:] = classes
    return found
