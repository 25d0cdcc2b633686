"""The tokens that virtual ones start from, for `prompt`, `p_tuning` and `prefix`."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any, Literal

import torch

from adjudge.core.seeds import stream_generator
from adjudge.methods.method import Setting
from adjudge.models.trunk.loading import Pretrained
from adjudge.models.trunk.trial import refuse_without_embeddings

Start = Literal["labels", "vocabulary"]


def start_ids(pretrained: Pretrained, length: int, start: Start, setting: Setting) -> tuple[int, ...]:
    """So many token ids: the label words' over and over, or drawn from the vocabulary by the ``init`` stream.

    Lester et al. 2021, section 3.2, compare the two: label words are best, and for large models it hardly matters.
    """
    ids = pretrained.tokenizer.encode_template(" ".join(setting.labels)) if start == "labels" else []
    if not ids:
        generator = stream_generator(setting.seed, "init")
        config: Any = pretrained.trunk.config
        ids = generator.integers(0, config.vocab_size, length).tolist()
    return tuple(islice(cycle(ids), length))


def start_embeddings(pretrained: Pretrained, ids: tuple[int, ...]) -> torch.Tensor:
    """The model's embeddings of these tokens ``[P, H]``.

    Raises:
        ConfigError: the model does not take learned ones in their place.
    """
    refuse_without_embeddings(pretrained.trunk)
    trunk: Any = pretrained.trunk
    with torch.no_grad():
        found: torch.Tensor = trunk.get_input_embeddings()(torch.tensor(ids))
    return found
