"""The linear layer of the classifiers without a network of their own: arrays in, logits and probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from adjudge.core.errors import DataError

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """Multinomial logistic regression as two arrays.

    Attributes:
        weights: ``[C, F]`` float32.
        bias: ``[C]`` float32.
    """

    weights: F32
    bias: F32

    def logits(self, features: Any) -> F32:
        """Scores ``[N, C]`` of features ``[N, F]`` (a NumPy array or a SciPy CSR matrix), float32.

        SciPy multiplies a sparse matrix row by row, so there a row's score does not depend on its neighbours.
        """
        product: F32 = np.asarray(features @ np.ascontiguousarray(self.weights.T), dtype=np.float32)
        return product + self.bias

    @property
    def size(self) -> int:
        """The number of parameters."""
        return int(self.weights.size + self.bias.size)

    def arrays(self) -> dict[str, F32]:
        """The arrays by name, for a safetensors file."""
        return {"weights": np.ascontiguousarray(self.weights), "bias": np.ascontiguousarray(self.bias)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, F32], n_labels: int, n_features: int, where: str) -> Linear:
        """Rebuild from `arrays`.

        Raises:
            DataError: an array is missing, or its shape does not fit the labels and features.
        """
        expected = {"weights": (n_labels, n_features), "bias": (n_labels,)}
        for name, shape in expected.items():
            actual = arrays[name].shape if name in arrays else None
            if actual != shape:
                raise DataError(f"{where}: the array {name!r} must have shape {shape}, found {actual}; save it again")
        return cls(arrays["weights"], arrays["bias"])


def probabilities(logits: F32, temperature: float = 1.0) -> F32:
    """Softmax of ``logits / temperature``, ``[N, C]`` float32, each row summing to 1; computed in float64."""
    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=1), dtype=np.float32)
